use super::super::board::Key;
use super::*;

const PLAIN: Paint = Paint { color: false };

fn at(tenths: u64) -> Duration {
    Duration::from_millis(tenths * 100)
}

/// Two stages at once, the first with output.
fn board() -> Board {
    let mut board = Board::new("Building");
    board.plan(6);
    board.start(Key::Step(1), "[internal] load build definition from Dockerfile".into(), at(0));
    board.finish(&Key::Step(1), Status::Done, at(0));
    board.start(Key::Step(2), "[builder 1/3] FROM docker.io/library/debian:bookworm".into(), at(0));
    board.finish(&Key::Step(2), Status::Done, at(1));
    board.start(Key::Step(3), "[builder 2/3] COPY . /src".into(), at(1));
    board.finish(&Key::Step(3), Status::Cached, at(2));
    board.start(Key::Step(4), "[builder 3/3] RUN apt-get update".into(), at(2));
    board.start(Key::Step(5), "[stage-1 2/2] RUN sleep 2".into(), at(3));
    board.output(&Key::Step(4), b"Get:1 bookworm InRelease\nGet:2 bookworm/main Packages\nGet:3 unfini");
    board
}

fn shown(lines: &[Line]) -> Vec<&str> {
    for line in lines {
        assert_eq!(line.columns, width(&line.text));
    }
    lines.iter().map(|line| line.text.as_str()).collect()
}

#[test]
fn each_row_has_its_time_at_the_right_and_running_ones_their_output() {
    let lines = frame(&board(), at(25), Size { columns: 60, rows: 24 }, PLAIN);
    assert_eq!(
        shown(&lines),
        [
            "[+] Building 2.5s (3/6)",
            " => [internal] load build definition from Dockerfile    0.0s",
            " => [builder 1/3] FROM docker.io/library/debian:bookwo… 0.1s",
            " => CACHED [builder 2/3] COPY . /src                    0.1s",
            " => [builder 3/3] RUN apt-get update                    2.3s",
            " => => # Get:1 bookworm InRelease",
            " => => # Get:2 bookworm/main Packages",
            " => => # Get:3 unfini",
            " => [stage-1 2/2] RUN sleep 2                           2.2s",
        ]
    );
}

#[test]
fn what_does_not_fit_is_left_out_output_first_then_what_is_done() {
    let board = board();
    for (rows, want) in [(24, 9), (10, 9), (9, 8), (8, 7), (7, 6), (6, 5), (5, 4), (4, 3), (3, 2), (1, 2)] {
        let lines = frame(&board, at(25), Size { columns: 60, rows }, PLAIN);
        assert_eq!(lines.len(), want, "{rows} rows: {lines:?}");
        assert!(shown(&lines).iter().any(|line| line.contains("RUN sleep 2")), "the newest runs");
    }
    let lines = frame(&board, at(25), Size { columns: 60, rows: 6 }, PLAIN);
    assert_eq!(
        shown(&lines)[1..],
        [
            " => CACHED [builder 2/3] COPY . /src                    0.1s",
            " => [builder 3/3] RUN apt-get update                    2.3s",
            " => => # Get:3 unfini",
            " => [stage-1 2/2] RUN sleep 2                           2.2s",
        ]
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut board = board();
    board.detail(&Key::Step(5), "12/89 packages, 3.1MB/45MB".into());
    board.output(&Key::Step(4), "日本語日本語日本語日本語\n".as_bytes());
    for columns in 1..90 {
        for line in frame(&board, at(25), Size { columns, rows: 24 }, Paint { color: true }) {
            assert!(line.columns <= columns, "{columns}: {line:?}");
        }
    }
}

#[test]
fn names_and_notes_of_strangers_do_nothing_to_the_terminal() {
    let mut board = Board::new("Building");
    board.start(Key::Step(1), "RUN \u{1b}[2Ja\tb\rc".into(), at(0));
    board.remark("not cached: \u{7}".into());
    board.notes.push("warning: \u{1b}]0;x".into());
    assert_eq!(
        shown(&last(&board, at(25), 40, PLAIN))[1..],
        [" => RUN ^[[2Ja b^Mc                 2.5s", " => => not cached: ^G", "warning: ^[]0;x"]
    );
}

#[test]
fn the_detail_stays_where_the_name_is_cut() {
    let mut board = Board::new("Assembling");
    board.start(Key::Part("x".into()), "[debian:bookworm] download and unpack packages".into(), at(0));
    board.detail(&Key::Part("x".into()), "12/89, 3.1MB/45MB".into());
    let lines = frame(&board, at(25), Size { columns: 50, rows: 24 }, PLAIN);
    assert_eq!(
        shown(&lines),
        ["[+] Assembling 2.5s (0/1)", " => [debian:bookworm] down… 12/89, 3.1MB/45MB 2.5s"]
    );
}

#[test]
fn a_failure_leaves_all_that_the_step_printed() {
    let mut board = board();
    let output: String = (0..40).map(|line| format!("line {line}\n")).collect();
    board.output(&Key::Step(5), output.as_bytes());
    board.output(&Key::Step(5), b"sh: nodejs: \x1b[31mnot found");
    board.finish(&Key::Step(5), Status::Failed, at(30));
    board.close(End::Badly, at(31));
    let lines = last(&board, at(31), 60, PLAIN);
    let lines = shown(&lines);
    assert_eq!(lines[0], "[+] Building 3.1s (3/6) FAILED");
    assert_eq!(lines[4], " => CANCELED [builder 3/3] RUN apt-get update           2.9s");
    assert_eq!(lines[5], " => ERROR [stage-1 2/2] RUN sleep 2                     2.7s");
    assert_eq!(lines[6..9], ["------", " > [stage-1 2/2] RUN sleep 2:", "line 0"]);
    assert_eq!(lines[47..], ["line 39", "sh: nodejs: not found", "------"]);
}

#[test]
fn a_flood_of_output_is_cut_at_its_start() {
    let mut board = Board::new("Building");
    board.start(Key::Step(1), "RUN yes".into(), at(0));
    for _ in 0..200 {
        board.output(&Key::Step(1), "0123456789abcdef0123456789abcdef\n".repeat(1024).as_bytes());
    }
    board.finish(&Key::Step(1), Status::Failed, at(1));
    board.close(End::Badly, at(1));
    let lines = last(&board, at(1), 80, PLAIN);
    assert_eq!(lines[4].text, "(73728 lines before are left out; --progress plain shows all)");
    assert_eq!(lines.len(), 6 + 131_072);
}

#[test]
fn a_good_end_says_so() {
    let mut board = Board::new("Building");
    board.plan(1);
    board.start(Key::Step(1), "exporting to image".into(), at(0));
    board.output(&Key::Step(1), b"not kept\n");
    board.finish(&Key::Step(1), Status::Done, at(2));
    board.notes.push("warning: something is odd".into());
    board.close(End::Well, at(2));
    let lines = last(&board, at(2), 40, PLAIN);
    assert_eq!(
        shown(&lines),
        [
            "[+] Building 0.2s (1/1) FINISHED",
            " => exporting to image              0.2s",
            "warning: something is odd",
        ]
    );
    let coloured = last(&board, at(2), 40, Paint { color: true });
    assert_eq!(coloured[1].text, "\u{1b}[34m => exporting to image              0.2s\u{1b}[0m");
}

#[test]
fn whoever_stops_the_work_sees_no_failure() {
    let mut board = Board::new("Building");
    board.start(Key::Step(1), "RUN sleep 9".into(), at(0));
    board.output(&Key::Step(1), b"not shown any more\n");
    board.finish(&Key::Step(1), Status::Cancelled, at(2));
    board.close(End::Badly, at(2));
    let lines = last(&board, at(2), 40, PLAIN);
    assert_eq!(
        shown(&lines),
        ["[+] Building 0.2s (0/1) CANCELED", " => CANCELED RUN sleep 9            0.2s"]
    );
}

#[test]
fn work_that_was_not_begun_leaves_nothing_on_the_screen() {
    let mut board = Board::new("Building");
    board.close(End::Badly, at(0));
    assert!(last(&board, at(0), 40, PLAIN).is_empty());
}
