//! Package files: an `ar` archive with the control files and the tree. Spec: `deb(5)`.

use std::io::{self, Read, Take};

/// Largest control archive that is read into memory.
const CONTROL_LIMIT: u64 = 64 << 20;

/// What a package says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Files of the control archive by name, with their permission bits: `control`, `postinst`, `conffiles`, …
    pub(crate) files: Vec<ControlFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ControlFile {
    pub(crate) name: String,
    pub(crate) mode: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Control {
    /// Returns a file as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let file = self.files.iter().find(|file| file.name == name)?;
        Some(String::from_utf8_lossy(&file.bytes).into_owned())
    }
}

/// Reads a package: its control files, then hands the uncompressed tree's tar to `data`.
pub(crate) fn read<T>(
    package: &mut dyn Read,
    data: impl FnOnce(Control, &mut dyn Read) -> io::Result<T>,
) -> io::Result<T> {
    let mut magic = [0; 8];
    package.read_exact(&mut magic)?;
    if &magic != b"!<arch>\n" {
        return Err(invalid("it is no package archive"));
    }
    let version = next_member(package)?;
    if version.name != "debian-binary" {
        return Err(invalid("its first member is not debian-binary"));
    }
    let mut text = String::new();
    version.body(package).read_to_string(&mut text)?;
    version.skip_padding(package)?;
    if !text.starts_with("2.") {
        return Err(invalid("it is a package of an unknown version"));
    }
    let member = next_member(package)?;
    let extension = member
        .name
        .strip_prefix("control.tar")
        .ok_or_else(|| invalid("its second member is not control.tar"))?;
    let control = {
        let mut body = member.body(package);
        let control = read_control(&mut *decompress(extension.to_owned(), &mut body)?)?;
        io::copy(&mut body, &mut io::sink())?;
        control
    };
    member.skip_padding(package)?;
    let member = loop {
        let member = next_member(package)?;
        if !member.name.starts_with('_') {
            break member;
        }
        io::copy(&mut member.body(package), &mut io::sink())?;
        member.skip_padding(package)?;
    };
    let extension =
        member.name.strip_prefix("data.tar").ok_or_else(|| invalid("its third member is not data.tar"))?;
    let mut body = member.body(package);
    data(control, &mut *decompress(extension.to_owned(), &mut body)?)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

struct Member {
    name: String,
    size: u64,
}

impl Member {
    fn body<'a>(&self, package: &'a mut dyn Read) -> Take<&'a mut dyn Read> {
        package.take(self.size)
    }

    /// Members start at even offsets.
    fn skip_padding(&self, package: &mut dyn Read) -> io::Result<()> {
        if self.size % 2 == 1 { package.read_exact(&mut [0]) } else { Ok(()) }
    }
}

fn next_member(package: &mut dyn Read) -> io::Result<Member> {
    let mut header = [0; 60];
    package.read_exact(&mut header)?;
    let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&header[range]).trim().to_owned();
    if &header[58..] != b"`\n" {
        return Err(invalid("a member's header is damaged"));
    }
    let size = text(48..58).parse().map_err(|_bad| invalid("a member's length is no number"))?;
    Ok(Member { name: text(0..16).trim_end_matches('/').to_owned(), size })
}

fn decompress<'a>(extension: String, body: &'a mut dyn Read) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match extension.as_str() {
        "" => Box::new(body),
        ".xz" => Box::new(lzma_rust2::XzReader::new(io::BufReader::new(body), true)),
        ".zst" => Box::new(zstd::stream::read::Decoder::new(body)?),
        ".gz" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        _ => {
            return Err(invalid(
                "it is compressed in a way that is not supported (known are xz, zst and gz)",
            ));
        }
    })
}

fn read_control(archive: &mut dyn Read) -> io::Result<Control> {
    let mut control = Control::default();
    let mut archive = tar::Archive::new(archive.take(CONTROL_LIMIT));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        let name = path.strip_prefix(".").unwrap_or(&path).to_string_lossy().into_owned();
        if name.contains('/') || name.is_empty() {
            return Err(invalid("its control archive has folders"));
        }
        let mode = entry.header().mode()?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        control.files.push(ControlFile { name, mode, bytes });
    }
    Ok(control)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One entry of a made-up tree: path, kind and content or target.
    pub(crate) enum Entry<'a> {
        Dir(&'a str, u32),
        File(&'a str, u32, &'a str),
        Symlink(&'a str, &'a str),
        Link(&'a str, &'a str),
    }

    /// Makes a tar of a tree.
    pub(crate) fn tar_of(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let mut header = tar::Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(1_000_000);
            header.set_mode(0o777);
            header.set_size(0);
            match entry {
                Entry::Dir(path, mode) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    builder.append_data(&mut header, path, io::empty()).unwrap();
                }
                Entry::File(path, mode, text) => {
                    header.set_mode(*mode);
                    header.set_size(text.len() as u64);
                    builder.append_data(&mut header, path, text.as_bytes()).unwrap();
                }
                Entry::Symlink(path, target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    builder.append_link(&mut header, path, target).unwrap();
                }
                Entry::Link(path, target) => {
                    header.set_entry_type(tar::EntryType::Link);
                    builder.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    }

    fn member(out: &mut Vec<u8>, name: &str, body: &[u8]) {
        out.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", body.len()).bytes(),
        );
        out.extend(body);
        if body.len() % 2 == 1 {
            out.push(b'\n');
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Makes a package file.
    pub(crate) fn deb_of(control: &[(&str, &str)], data: &[Entry<'_>]) -> Vec<u8> {
        let paths: Vec<String> = control.iter().map(|(name, _)| format!("./{name}")).collect();
        let files: Vec<Entry<'_>> =
            paths.iter().zip(control).map(|(path, (_, text))| Entry::File(path, 0o755, text)).collect();
        let mut out = b"!<arch>\n".to_vec();
        member(&mut out, "debian-binary", b"2.0\n");
        member(&mut out, "control.tar.gz", &gzip(&tar_of(&files)));
        member(&mut out, "_extra", b"odd");
        member(&mut out, "data.tar.zst", &zstd::encode_all(tar_of(data).as_slice(), 1).unwrap());
        out
    }

    #[test]
    fn a_package_gives_its_control_files_and_its_tree() {
        let deb = deb_of(
            &[("control", "Package: a\n"), ("postinst", "#!/bin/sh\n")],
            &[Entry::File("./f", 0o644, "text")],
        );
        let (control, names) = read(&mut deb.as_slice(), |control, data| {
            let mut archive = tar::Archive::new(data);
            let names: Vec<String> = archive
                .entries()?
                .map(|entry| entry.unwrap().path().unwrap().display().to_string())
                .collect();
            Ok((control, names))
        })
        .unwrap();
        assert_eq!(control.text("control").unwrap(), "Package: a\n");
        assert_eq!(control.files[1].mode, 0o755);
        // The writer of this test drops a leading `./`.
        assert_eq!(names, ["f"]);
    }

    #[test]
    fn damaged_packages_are_errors() {
        let good = deb_of(&[("control", "Package: a\n")], &[]);
        let read_all = |bytes: &[u8]| {
            read(&mut &*bytes, |_, data| io::copy(data, &mut io::sink())).map_err(|error| error.to_string())
        };
        assert!(read_all(&good).is_ok());
        for (name, bytes) in [
            ("nothing", Vec::new()),
            ("another file", b"<html></html>".to_vec()),
            ("cut", good[..good.len() / 2].to_vec()),
            ("cut in the tree", good[..good.len() - 4].to_vec()),
        ] {
            assert!(read_all(&bytes).is_err(), "case {name}");
        }
    }
}
