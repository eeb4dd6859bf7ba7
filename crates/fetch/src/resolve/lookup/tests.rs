use std::net::TcpListener;
use std::thread::JoinHandle;

use super::super::message::tests::answer;
use super::*;

/// Answers each datagram with what `reply` makes of it, until the socket has been silent for a second.
fn serve(mut reply: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = reply(&buffer[..length]) {
                socket.send_to(&reply, from).unwrap();
            }
        }
    });
    (address, thread)
}

fn list(servers: Vec<SocketAddr>) -> ServerList {
    ServerList { servers, search: Vec::new(), ndots: 1, timeout: Duration::from_millis(300), attempts: 2 }
}

fn asks_for_v4(question: &[u8]) -> bool {
    question[question.len() - 3] == 1
}

#[test]
fn both_families_are_found_ipv4_first() {
    let (server, thread) = serve(|question| {
        let address = if asks_for_v4(question) { "192.0.2.1" } else { "2001:db8::1" };
        Some(answer(question, 0x8180, &[address.parse().unwrap()]))
    });
    let (found, lifetime) = resolve("a.test", &list(vec![server]), None, &Stop::default()).unwrap();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
    assert_eq!(lifetime, Duration::from_secs(60));
    thread.join().unwrap();
}

#[test]
fn a_dropped_question_is_asked_again() {
    let mut seen = 0;
    let (server, thread) = serve(move |question| {
        seen += 1;
        (seen > 2 && asks_for_v4(question)).then(|| answer(question, 0x8180, &["192.0.2.1".parse().unwrap()]))
    });
    let (found, _) = resolve("a.test", &list(vec![server]), None, &Stop::default()).unwrap();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    thread.join().unwrap();
}

#[test]
fn the_second_server_is_asked_when_the_first_fails() {
    let (broken, first) = serve(|question| Some(answer(question, 0x8182, &[])));
    let (good, second) = serve(|question| {
        Some(if asks_for_v4(question) {
            answer(question, 0x8180, &["192.0.2.1".parse().unwrap()])
        } else {
            answer(question, 0x8180, &[])
        })
    });
    let (found, _) = resolve("a.test", &list(vec![broken, good]), None, &Stop::default()).unwrap();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    first.join().unwrap();
    second.join().unwrap();
}

#[test]
fn an_unknown_name_is_told_apart_from_silence() {
    let (server, thread) = serve(|question| Some(answer(question, 0x8183, &[])));
    let error = resolve("a.test", &list(vec![server]), None, &Stop::default()).unwrap_err();
    assert!(matches!(error, ResolveError::NotFound { .. }) && !error.is_temporary(), "{error:?}");
    thread.join().unwrap();
    let (silent, thread) = serve(|_question| None);
    let error = resolve("a.test", &list(vec![silent]), None, &Stop::default()).unwrap_err();
    assert!(matches!(error, ResolveError::NoAnswer { .. }) && error.is_temporary(), "{error:?}");
    thread.join().unwrap();
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let socket = UdpSocket::bind(server).unwrap();
    let datagrams = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        for _family in 0..2 {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            let flags = if asks_for_v4(&buffer[..length]) { 0x8380 } else { 0x8180 };
            socket.send_to(&answer(&buffer[..length], flags, &[]), from).unwrap();
        }
    });
    let streams = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let addresses: Vec<IpAddr> = (0..100).map(|last| IpAddr::from([192, 0, 2, last])).collect();
        let reply = answer(&question, 0x8180, &addresses);
        stream.write_all(&u16::try_from(reply.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&reply).unwrap();
    });
    let (found, _) = resolve("a.test", &list(vec![server]), None, &Stop::default()).unwrap();
    assert_eq!(found.len(), 100);
    datagrams.join().unwrap();
    streams.join().unwrap();
}

#[test]
fn a_stop_ends_waiting_for_an_answer() {
    let (silent, thread) = serve(|_question| None);
    let patient = ServerList { timeout: Duration::from_secs(3600), ..list(vec![silent]) };
    let stop = Stop::default();
    let stopping = stop.clone();
    let waiting = std::thread::spawn(move || resolve("a.test", &patient, None, &stopping).unwrap_err());
    // It has asked, and nobody will ever answer.
    thread.join().unwrap();
    stop.stop();
    assert!(matches!(waiting.join().unwrap(), ResolveError::NoAnswer { .. }));
}
