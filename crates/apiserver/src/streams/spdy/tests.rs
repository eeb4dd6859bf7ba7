use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use super::client::{Heard, Listener, Speaker, client, headers};
use super::stream::CANCEL;
use super::*;
use crate::streams::pipe::HungUp;

/// A client and a server with `buffer` bytes between them.
async fn talk<T, H: Future<Output = ()>>(
    buffer: usize,
    handle: impl FnOnce(mpsc::Receiver<Incoming>) -> H,
    act: impl AsyncFnOnce(Speaker<DuplexStream>, Listener<DuplexStream>) -> T,
) -> (T, Result<(), SessionError>) {
    let (near, far) = tokio::io::duplex(buffer);
    let (speaker, listener) = client(near);
    tokio::join!(act(speaker, listener), serve(far, handle))
}

/// Sends every stream's first header and then its data back.
async fn echo(mut incoming: mpsc::Receiver<Incoming>) {
    let mut streams = JoinSet::new();
    while let Some(Incoming { headers, mut inlet, mut outlet, .. }) = incoming.recv().await {
        streams.spawn(async move {
            let text = headers.first().map(|(name, value)| format!("{name}={value};")).unwrap_or_default();
            outlet.send(text.into()).await?;
            while let Some(data) = inlet.next().await {
                outlet.send(data).await?;
            }
            outlet.finish().await
        });
    }
}

/// Keeps all streams and does nothing with them.
async fn hold(mut incoming: mpsc::Receiver<Incoming>) {
    let mut held = Vec::new();
    while let Some(stream) = incoming.recv().await {
        held.push(stream);
    }
    std::future::pending::<()>().await;
}

fn pattern(length: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(length).collect()
}

#[tokio::test]
async fn frames_survive_being_cut_anywhere() {
    for buffer in [1, 2, 3, 5, 7, 8, 9, 11, 64, 1000, 65_536] {
        let (got, _) = talk(buffer, echo, async |mut speaker, mut listener| {
            let long = pattern(if buffer < 64 { 3000 } else { 300_000 });
            let speak = async {
                let first = speaker.open(&[("Kind", "first"), ("port", "80")]).await;
                let second = speaker.open(&[("kind", "second"), ("port", "80")]).await;
                speaker.data(first, false, b"a").await;
                speaker.data(second, false, &long).await;
                speaker.data(first, false, b"").await;
                let third = speaker.open(&[("kind", "third")]).await;
                speaker.data(first, true, b"z").await;
                speaker.data(third, true, b"").await;
                speaker.data(second, true, b"end").await;
                (first, second, third)
            };
            let ids = [1, 3, 5];
            let (opened, got) = tokio::join!(speak, listener.collect(&ids));
            assert_eq!(opened, (1, 3, 5));
            assert_eq!(got[&1].data, b"kind=first;az");
            let want = [b"kind=second;", long.as_slice(), b"end"].concat();
            assert_eq!(got[&3].data, want);
            got[&5].data.clone()
        })
        .await;
        assert_eq!(got, b"kind=third;", "{buffer} bytes at a time");
    }
}

#[tokio::test]
async fn header_blocks_that_nobody_wants_keep_the_compression_in_step() {
    let (got, _) = talk(4096, echo, async |mut speaker, mut listener| {
        let first = speaker.open(&[("a", "1")]).await;
        let block = speaker.block(&[("more", "of the first")]);
        speaker.control(Control::Headers { stream: first, fin: true, block }).await;
        let block = speaker.block(&[("to", "nobody")]);
        speaker.control(Control::SynReply { stream: 8, fin: false, block }).await;
        let second = speaker.open(&[("a", "2")]).await;
        speaker.data(second, true, b"").await;
        listener.collect(&[first, second]).await
    })
    .await;
    assert_eq!((&got[&1].data[..], &got[&3].data[..]), (&b"a=1;"[..], &b"a=2;"[..]));
}

#[tokio::test]
async fn pings_come_back_and_answers_to_pings_do_not() {
    let (pong, _) = talk(4096, hold, async |mut speaker, mut listener| {
        speaker.control(Control::Ping { id: 2 }).await;
        speaker.control(Control::Ping { id: 7 }).await;
        listener.heard().await
    })
    .await;
    assert_eq!(pong, Some(Heard::Control(Control::Ping { id: 7 })));
}

#[tokio::test]
async fn windows_hold_back_a_server_whose_client_knows_them() {
    let (got, _) = talk(4096, echo, async |mut speaker, mut listener| {
        let mut allowed = 6;
        speaker.control(Control::Settings { initial_window: Some(6) }).await;
        let stream = speaker.open(&[("a", "1")]).await;
        speaker.data(stream, true, b"0123456789").await;
        let mut got = Vec::new();
        loop {
            if let Heard::Data { fin, data, .. } = listener.heard().await.unwrap() {
                got.extend(data);
                assert!(got.len() <= allowed, "{} bytes where {allowed} are allowed", got.len());
                if fin {
                    return got;
                }
                if got.len() == allowed {
                    allowed += 4;
                    speaker.control(Control::WindowUpdate { stream, delta: 4 }).await;
                }
            }
        }
    })
    .await;
    assert_eq!(got, b"a=1;0123456789");
}

#[tokio::test]
async fn a_client_without_windows_is_sent_everything() {
    let (length, _) = talk(65_536, echo, async |mut speaker, mut listener| {
        let stream = speaker.open(&[("a", "1")]).await;
        let speak = async {
            for _ in 0..20 {
                speaker.data(stream, false, &pattern(100_000)).await;
            }
            speaker.data(stream, true, b"").await;
        };
        let ids = [stream];
        tokio::join!(speak, listener.collect(&ids)).1[&stream].data.len()
    })
    .await;
    assert_eq!(length, 4 + 2_000_000);
}

#[tokio::test]
async fn what_is_taken_out_opens_the_windows_again() {
    let (updates, _) = talk(65_536, echo, async |mut speaker, mut listener| {
        let stream = speaker.open(&[("a", "1")]).await;
        speaker.data(stream, true, &pattern(stream::WINDOW)).await;
        let mut updates = [0, 0];
        while updates != [65_536, 65_536] {
            if let Heard::Control(Control::WindowUpdate { stream: of, delta }) =
                listener.next().await.unwrap()
            {
                updates[usize::from(of == stream)] += delta;
            }
        }
        updates
    })
    .await;
    assert_eq!(updates, [65_536, 65_536]);
}

/// Lets everything else run until it can do no more: only then does a paused clock move.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_stops_its_client() {
    let sent = AtomicUsize::new(0);
    talk(4096, hold, async |mut speaker, _listener| {
        let stream = speaker.open(&[]).await;
        let flood = async {
            loop {
                speaker.data(stream, false, &pattern(8192)).await;
                sent.fetch_add(8192, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = flood => {}
            () = settle() => {}
        }
    })
    .await
    .1
    .unwrap_err();
    let sent = sent.into_inner();
    assert!((256 * 1024..512 * 1024).contains(&sent), "{sent} bytes were taken");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_stops_its_streams() {
    let sent = AtomicUsize::new(0);
    let flood = async |mut incoming: mpsc::Receiver<Incoming>| {
        let mut stream = incoming.recv().await.unwrap();
        while stream.outlet.send(Bytes::from(pattern(8192))).await.is_ok() {
            sent.fetch_add(8192, Ordering::Relaxed);
        }
    };
    let (_, served) = talk(4096, flood, async |mut speaker, _listener| {
        speaker.open(&[]).await;
        settle().await;
    })
    .await;
    drop(served);
    let sent = sent.into_inner();
    assert!((64 * 1024..1024 * 1024).contains(&sent), "{sent} bytes were queued");
}

/// Tells when it is dropped.
struct Dropped<'a>(&'a AtomicUsize);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_up_drops_what_runs() {
    let dropped = AtomicUsize::new(0);
    let started = tokio::time::Instant::now();
    let handle = async |incoming| {
        let _guard = Dropped(&dropped);
        hold(incoming).await;
    };
    let (_, served) = talk(4096, handle, async |mut speaker, mut listener| {
        speaker.open(&[]).await;
        listener.heard().await.unwrap();
    })
    .await;
    // The good-bye finds nobody: whether that is an error does not matter, that it is fast does.
    drop(served);
    assert_eq!(dropped.into_inner(), 1);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn nonsense_ends_the_connection_with_a_reason() {
    let cases: [(&str, &[u8]); 6] = [
        ("SPDY 2", &[0x80, 2, 0, 1, 0, 0, 0, 0]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        ("a long control frame", &[0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff]),
        ("data of no stream", &[0, 0, 0, 9, 0, 0, 0, 1, 1]),
        ("an even stream", &[0x80, 3, 0, 1, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]),
        (
            "headers that are not compressed",
            &[0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9, 9],
        ),
    ];
    for (name, bytes) in cases {
        let (heard, served) = talk(4096, hold, async |mut speaker, mut listener| {
            speaker.raw(bytes).await;
            listener.heard().await
        })
        .await;
        assert!(matches!(served, Err(SessionError::Protocol(_))), "{name}: {served:?}");
        let bye = Control::GoAway { last: 0, status: GOAWAY_PROTOCOL_ERROR };
        assert_eq!(heard, Some(Heard::Control(bye)), "{name}");
    }
}

#[tokio::test]
async fn stream_ids_only_grow() {
    let (_, served) = talk(4096, hold, async |mut speaker, mut listener| {
        for stream in [5, 3] {
            let block = speaker.block(&[]);
            speaker.control(Control::SynStream { stream, fin: false, unidirectional: false, block }).await;
        }
        while listener.heard().await.is_some() {}
    })
    .await;
    assert!(matches!(served, Err(SessionError::Protocol(FrameError::StreamId(3)))), "{served:?}");
}

#[tokio::test]
async fn resets_go_both_ways() {
    let handle = async |mut incoming: mpsc::Receiver<Incoming>| {
        drop(incoming.recv().await.unwrap());
        let mut reset = incoming.recv().await.unwrap();
        reset.outlet.closed().cancelled().await;
        assert_eq!(reset.outlet.send(Bytes::from_static(b"late")).await, Err(HungUp));
        assert_eq!(reset.inlet.next().await, None);
    };
    let (heard, served) = talk(4096, handle, async |mut speaker, mut listener| {
        let dropped = speaker.open(&[]).await;
        assert!(listener.collect(&[dropped]).await[&dropped].reset);
        let mine = speaker.open(&[]).await;
        speaker.control(Control::Reset { stream: mine, status: CANCEL }).await;
        // What was on its way when the stream ended is no error.
        speaker.data(mine, false, b"late").await;
        let mut rest = Vec::new();
        while let Some(frame) = listener.heard().await {
            rest.push(frame);
        }
        rest
    })
    .await;
    let bye = Heard::Control(Control::GoAway { last: 3, status: GOAWAY_OK });
    assert_eq!(heard, [Heard::Reply { stream: 3, headers: headers(&[]) }, bye]);
    served.unwrap();
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused() {
    let (refused, _) = talk(65_536, hold, async |mut speaker, mut listener| {
        let open = async {
            for _ in 0..1001 {
                speaker.open(&[("a", "b")]).await;
            }
        };
        let listen = async {
            let mut replies = 0;
            loop {
                match listener.heard().await.unwrap() {
                    Heard::Reply { .. } => replies += 1,
                    Heard::Control(Control::Reset { stream, status }) => return (replies, stream, status),
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::join!(open, listen).1
    })
    .await;
    assert_eq!(refused, (1000, 2001, 3));
}

#[tokio::test]
async fn garbled_frames_never_panic() {
    let mut speech = bytes::BytesMut::new();
    let mut deflater = headers::Deflater::new().unwrap();
    for stream in [1, 3] {
        let block = deflater.write(&headers(&[("streamtype", "data"), ("port", "80")])).unwrap().into();
        Control::SynStream { stream, fin: false, unidirectional: false, block }.encode(&mut speech);
        frame::encode_data(&mut speech, stream, stream == 3, b"some data");
        Control::WindowUpdate { stream, delta: 0x7fff_ffff }.encode(&mut speech);
    }
    Control::Settings { initial_window: Some(0) }.encode(&mut speech);
    Control::Reset { stream: 1, status: 1 }.encode(&mut speech);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..2000 {
        let mut garbled = speech.to_vec();
        for _ in 0..=next(4) {
            let at = next(garbled.len());
            garbled[at] = u8::try_from(next(256)).unwrap();
        }
        garbled.truncate(next(garbled.len()) + 1);
        // It may be accepted or refused.
        drop(talk(4096, echo, async |mut speaker, _listener| speaker.raw(&garbled).await).await);
    }
}
