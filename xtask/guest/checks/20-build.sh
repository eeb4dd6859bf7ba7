context
shipway build --network none -t app app
# Again, from the cache.
shipway build --network none -t app app
shipway images
