'use strict';

const os = require('node:os');
const debug = require('debug')('exampleapp:server');
const express = require('express');

const app = express();

app.get('/', (request, response) => {
  debug('%s %s', request.method, request.url);
  response.send(`<h1>Hello from Express</h1>\n<p>Served by ${os.hostname()}</p>\n`);
});

app.get('/healthz', (_request, response) => response.type('text').send('ok\n'));

const server = app.listen(3000, '0.0.0.0', () => console.log('Listening on port 3000'));

// The first process of a container has no default signal handlers: without this a stop takes 30 seconds.
process.on('SIGTERM', () => server.close(() => process.exit(0)));
