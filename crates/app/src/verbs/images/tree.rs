//! Images with those for each platform below them. Compat: `docker images --tree` of docker 28, which has colours in files and pipes, too.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use shipway_oci::{Descriptor, Digest, Reference, is_attestation};
use shipway_store::{Found, StoreError};

use super::left_out;
use super::row::Row;
use crate::clock;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::ui::{Ui, visible};
use crate::verbs::inspect::index_of;

/// Between columns.
const GAP: usize = 3;
/// The narrowest that a column of names may get before others are left out.
const LEAST: usize = 12;
const UNTAGGED: &str = "<untagged>";

/// The columns beside that of the names: head, width, and whether they are right-aligned.
const COLUMNS: [(&str, usize, bool); 4] =
    [("ID", 12, false), ("DISK USAGE", 10, true), ("CONTENT SIZE", 12, true), ("EXTRA", 5, false)];

const BOLD: &str = "\x1b[1m";
const BOLD_BLUE: &str = "\x1b[1;34m";
const DIM: &str = "\x1b[2m";
const CHIP: &str = "\x1b[38;5;0m\x1b[48;5;14m";
const PLAIN: &str = "";

/// How it is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// Letters in a line.
    pub(super) width: usize,
    pub(super) colours: bool,
}

/// An image with all its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Top {
    names: Vec<String>,
    details: Details,
    children: Vec<Child>,
}

/// One of the images that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Child {
    platform: String,
    is_here: bool,
    details: Details,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    id: String,
    /// Files and blobs.
    disk: u64,
    /// Blobs: what a registry would be sent.
    content: u64,
    is_used: bool,
}

/// Returns the lines to print of images, in their order. Nothing of what strangers wrote does anything to a terminal.
pub(super) fn lines(engine: &Engine, rows: &[Row], look: Look, ui: &mut Ui) -> Result<Vec<String>, Failure> {
    let used: HashSet<Digest> = engine.store.containers()?.into_iter().map(|row| row.image_id).collect();
    let mut places: HashMap<(Digest, Option<Digest>), usize> = HashMap::new();
    let mut tops: Vec<(Top, &Row)> = Vec::new();
    for row in rows {
        let place = *places.entry((row.image.image_id, row.image.index)).or_insert(tops.len());
        if place == tops.len() {
            tops.push((Top::default(), row));
        }
        tops[place].0.names.extend(row.image.name.as_ref().map(Reference::familiar));
    }
    let sizes = Sizes { engine, used: &used };
    let mut filled = Vec::new();
    for (top, row) in tops {
        match sizes.fill(top, row) {
            Ok(top) => filled.push(top),
            Err(error) if error.is_of_document() => ui.note(left_out(&row.image, &error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(render(&filled, look))
}

/// Finds out how large images are.
struct Sizes<'a> {
    engine: &'a Engine,
    used: &'a HashSet<Digest>,
}

impl Sizes<'_> {
    fn fill(&self, mut top: Top, row: &Row) -> Result<Top, StoreError> {
        let store = &self.engine.store;
        let image = &row.image;
        let found = Found { index: image.index, ..Found::new(image.image_id, image.manifest) };
        // The last name stands in its column, those before it have lines for themselves. Compat: docker, the shortest one.
        top.names.sort_by_key(|name| std::cmp::Reverse(name.chars().count()));
        let Some((descriptor, index)) = index_of(self.engine, &found, &store.digests(&image.image_id)?)
        else {
            let platform = row.config.platform().to_string();
            top.details = self.details(&found)?;
            top.children = vec![Child { platform, is_here: true, details: top.details.clone() }];
            top.details.id = image.image_id.short();
            return Ok(top);
        };
        let mut blobs = descriptor.size;
        let is_used = self.used.contains(&image.image_id);
        top.details = Details { id: image.image_id.short(), is_used, ..Details::default() };
        for listed in &index.manifests {
            if is_attestation(listed) {
                blobs += self.attested(listed);
                continue;
            }
            let child = self.child(listed)?;
            top.details.disk += child.details.disk;
            top.details.content += child.details.content;
            top.details.is_used |= child.details.is_used;
            top.children.push(child);
        }
        top.details.content += blobs;
        top.details.disk += blobs;
        Ok(top)
    }

    fn child(&self, listed: &Descriptor) -> Result<Child, StoreError> {
        let platform = listed.platform.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let (is_here, details) = match self.engine.store.whole_image(&listed.digest) {
            Some(found) => (true, self.details(&found)?),
            None => (false, Details { id: listed.digest.short(), ..Details::default() }),
        };
        Ok(Child { platform, is_here, details })
    }

    /// Returns how large an image for one platform is.
    fn details(&self, found: &Found) -> Result<Details, StoreError> {
        let store = &self.engine.store;
        let manifest = store.manifest(&found.manifest)?;
        let diff_ids = store.config(&found.image_id)?.rootfs.diff_ids;
        let mut seen = HashSet::new();
        let mut content = self.blob(&found.manifest) + self.blob(&found.image_id);
        let mut files = 0;
        for (layer, diff_id) in manifest.layers.iter().zip(&diff_ids).filter(|(_, id)| seen.insert(**id)) {
            let row = store.layer_of(*diff_id)?;
            let packed = store.packed(*diff_id)?.into_iter().map(|packed| packed.digest);
            let form = [layer.digest]
                .into_iter()
                .chain(packed)
                .map(|digest| self.blob(&digest))
                .find(|size| *size > 0);
            content += form.unwrap_or_default();
            files += row.map_or(0, |row| row.size);
        }
        let is_used = self.used.contains(&found.image_id);
        Ok(Details { id: found.manifest.short(), disk: content + files, content, is_used })
    }

    /// Returns the bytes of what is attested.
    fn attested(&self, listed: &Descriptor) -> u64 {
        let manifest = self.engine.store.manifest(&listed.digest);
        let named = manifest.iter().flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]));
        self.blob(&listed.digest) + named.map(|blob| self.blob(&blob.digest)).sum::<u64>()
    }

    fn blob(&self, digest: &Digest) -> u64 {
        fs_err::metadata(self.engine.store.blob_path(digest)).map_or(0, |found| found.len())
    }
}

/// Puts a text in a field of a line.
fn cell(text: &str, width: usize, is_right: bool, look: Look, style: &str) -> String {
    let text = cut(text, width);
    let fill = " ".repeat(width.saturating_sub(text.chars().count()));
    let shown = paint(&text, look, style);
    if is_right { format!("{fill}{shown}") } else { format!("{shown}{fill}") }
}

fn paint<'a>(text: &'a str, look: Look, style: &str) -> Cow<'a, str> {
    if look.colours && !style.is_empty() {
        return Cow::Owned(format!("{style}{text}\x1b[0m"));
    }
    Cow::Borrowed(text)
}

fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(width.saturating_sub(1)).chain(['…']).collect())
}

/// Returns how wide the names may be, and how many columns have room beside them.
fn layout(tops: &[Top], width: usize) -> (usize, usize) {
    let (mut names, mut shown) = (width, 0);
    for (_, column, _) in COLUMNS {
        match names.checked_sub(column + GAP).filter(|left| *left >= LEAST) {
            Some(left) => (names, shown) = (left, shown + 1),
            None => break,
        }
    }
    let of_top = |top: &Top| {
        let letters = |text: &str| visible(text).chars().count();
        let named = top.names.iter().map(|name| letters(name)).max().unwrap_or(UNTAGGED.len());
        let listed = top.children.iter().map(|child| letters(&child.platform) + GAP).max();
        named.max(listed.unwrap_or(0))
    };
    let widest = tops.iter().map(of_top).max().unwrap_or(0).max("IMAGE".len());
    (names.min(widest), shown)
}

fn render(tops: &[Top], look: Look) -> Vec<String> {
    let (names, shown) = layout(tops, look.width);
    let columns = &COLUMNS[..shown];
    let line = |name: String, details: Option<(&Details, &str)>| {
        let mut line = name;
        for (place, (head, width, is_right)) in columns.iter().enumerate() {
            line.push_str(&" ".repeat(GAP));
            line.push_str(&match details {
                None => cell(head, *width, *is_right, look, BOLD),
                Some((details, _)) if place == 3 => chip(details.is_used, *width, look),
                Some((details, style)) => {
                    let text = [details.id.clone(), clock::size(details.disk), clock::size(details.content)];
                    cell(&text[place], *width, *is_right, look, style)
                }
            });
        }
        line.trim_end().to_owned()
    };
    let legend = if look.colours { "Info →   U  In Use" } else { "Info -> U In Use" };
    let indent = " ".repeat(look.width.saturating_sub(legend.chars().count()));
    let legend =
        if look.colours { legend.replace(" U ", &paint(" U ", look, CHIP)) } else { legend.to_owned() };
    let mut lines = vec![format!("{indent}{legend}"), String::new()];
    lines.push(line(cell("IMAGE", names, false, look, BOLD), None));
    for top in tops {
        let (own, alone) = match top.names.split_last() {
            Some((last, before)) => (visible(last).into_owned(), before),
            None => (UNTAGGED.to_owned(), &[][..]),
        };
        for name in alone {
            lines.push(paint(&cut(&visible(name), look.width), look, BOLD_BLUE).into_owned());
        }
        let style = if top.names.is_empty() { DIM } else { BOLD_BLUE };
        lines.push(line(cell(&own, names, false, look, style), Some((&top.details, PLAIN))));
        for (place, child) in top.children.iter().enumerate() {
            let branch = if place + 1 == top.children.len() { "└─ " } else { "├─ " };
            let style = if child.is_here { PLAIN } else { DIM };
            let text = format!("{branch}{}", visible(&child.platform));
            lines.push(line(cell(&text, names, false, look, style), Some((&child.details, style))));
        }
        lines.push(String::new());
    }
    lines
}

/// The mark of what is in use.
fn chip(is_used: bool, width: usize, look: Look) -> String {
    match (is_used, look.colours) {
        (true, true) => cell(" U ", width, false, look, CHIP),
        (true, false) => cell("U", width, false, look, PLAIN),
        (false, _) => " ".repeat(width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(id: &str, disk: u64, content: u64, is_used: bool) -> Details {
        Details { id: id.repeat(12), disk, content, is_used }
    }

    fn child(platform: &str, is_here: bool, details: Details) -> Child {
        Child { platform: platform.to_owned(), is_here, details }
    }

    fn tops() -> Vec<Top> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let amd64 = child("linux/amd64", true, details("1", 8_888_888, 1_234_567, true));
        let arm64 = child("linux/arm64/v8", false, details("2", 0, 0, false));
        vec![
            Top {
                names: names(&["single:1"]),
                details: details("b", 5000, 999, false),
                children: vec![child("linux/amd64", true, details("4", 5000, 999, false))],
            },
            Top {
                names: names(&["a-much-longer-name.example.com/team/application:with-long-tag", "web:1"]),
                details: details("a", 9_000_000, 2_470_000, true),
                children: vec![amd64, arm64],
            },
            Top { details: details("c", 123_456_789, 0, false), ..Top::default() },
        ]
    }

    #[test]
    fn images_are_shown_with_those_for_each_platform() {
        let shown = |width| render(&tops(), Look { width, colours: false }).join("\n");
        assert_eq!(
            shown(80),
            "                                                                Info -> U In Use

IMAGE                           ID             DISK USAGE   CONTENT SIZE   EXTRA
single:1                        bbbbbbbbbbbb          5kB           999B
└─ linux/amd64                  444444444444          5kB           999B

a-much-longer-name.example.com/team/application:with-long-tag
web:1                           aaaaaaaaaaaa          9MB         2.47MB   U
├─ linux/amd64                  111111111111       8.89MB         1.23MB   U
└─ linux/arm64/v8               222222222222           0B             0B

<untagged>                      cccccccccccc        123MB             0B
"
        );
        // Columns go for which there is no room, and names are cut.
        assert_eq!(
            shown(40),
            "                        Info -> U In Use

IMAGE          ID             DISK USAGE
single:1       bbbbbbbbbbbb          5kB
└─ linux/am…   444444444444          5kB

a-much-longer-name.example.com/team/app…
web:1          aaaaaaaaaaaa          9MB
├─ linux/am…   111111111111       8.89MB
└─ linux/ar…   222222222222           0B

<untagged>     cccccccccccc        123MB
"
        );
    }

    #[test]
    fn colours_and_marks_take_no_room() {
        let plain = render(&tops(), Look { width: 100, colours: false });
        let coloured = render(&tops(), Look { width: 100, colours: true });
        let without = |line: &String| {
            let mut text = String::new();
            let mut rest = line.as_str();
            while let Some((before, after)) = rest.split_once("\x1b[") {
                text.push_str(before);
                rest = after.split_once('m').unwrap().1;
            }
            text + rest
        };
        assert!(coloured[3].contains("\x1b[") && coloured.len() == plain.len());
        for (with, plain) in coloured.iter().zip(&plain).skip(2) {
            assert_eq!(without(with).replace("    U", "   U").trim_end(), plain.as_str());
        }
        assert!(coloured[9].starts_with("\x1b[2m└─ linux/arm64/v8"), "{:?}", coloured[9]);
    }

    #[test]
    fn what_strangers_write_does_nothing_to_a_terminal() {
        let evil = child("linux/\x1b]0;title\x07", true, Details::default());
        let top = Top { names: vec!["web".to_owned()], children: vec![evil], ..Top::default() };
        let lines = render(&[top], Look { width: 100, colours: true }).join("\n");
        assert!(lines.contains("linux/^[]0;title^G"), "{lines:?}");
    }
}
