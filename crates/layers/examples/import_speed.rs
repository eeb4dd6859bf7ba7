//! How long it takes to take in a layer of many small files.
//!
//! `cargo run --release -p shipway-layers --example import_speed [DIRECTORY [FILES [ROUNDS]]]`: the store is made below the directory
//! (default: the temporary one) and removed again. Every line is one round into a fresh store.
#![expect(clippy::print_stdout, reason = "what it measured is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has nothing to say")]

use std::path::PathBuf;
use std::time::Instant;

use shipway_layers::{LayerStore as _, Unpacked};
use shipway_store::Store;

/// A hundred files to a directory, directories two deep, 2 KiB each.
fn archive(files: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    for number in 0..files {
        let directory = format!("usr/share/d{}/e{}", number / 10_000, number / 100);
        if number % 100 == 0 {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            builder.append_data(&mut header, &directory, std::io::empty()).unwrap();
        }
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(2048);
        let content = [u8::try_from(number % 251).unwrap(); 2048];
        builder.append_data(&mut header, format!("{directory}/f{number}"), &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let place = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let files = args.next().map_or(50_000, |text| text.parse().unwrap());
    let rounds = args.next().map_or(5, |text| text.parse().unwrap());
    let tar = archive(files);
    for round in 1..=rounds {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let layers = Unpacked::open(Store::open(dir.path()).unwrap());
        let start = Instant::now();
        layers.import(&mut tar.as_slice(), None).unwrap();
        let imported = start.elapsed();
        layers.sync().unwrap();
        println!("round {round}: {files} files in {imported:.2?}, with sync {:.2?}", start.elapsed());
    }
}
