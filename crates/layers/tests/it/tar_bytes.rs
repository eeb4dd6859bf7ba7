//! Writing archives by hand: what is hostile or malformed, no proper writer would write.

/// Size of a block.
pub(crate) const BLOCK: usize = 512;

/// One header and what follows it, before anything is checked.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) device: (u32, u32),
    /// What the header says; the length of the body if it is not given.
    pub(crate) size: Option<u64>,
    pub(crate) body: Vec<u8>,
    pub(crate) magic: &'static [u8; 8],
}

pub(crate) const USTAR: &[u8; 8] = b"ustar\x0000";
pub(crate) const GNU: &[u8; 8] = b"ustar  \0";
pub(crate) const V7: &[u8; 8] = &[0; 8];

impl Raw {
    pub(crate) fn new(kind: u8, name: &str, content: &str) -> Self {
        let is_link = matches!(kind, b'1' | b'2');
        let (link, body) = if is_link { (content, "") } else { ("", content) };
        Self {
            name: name.as_bytes().to_vec(),
            kind,
            link: link.as_bytes().to_vec(),
            mode: if kind == b'5' { 0o755 } else { 0o644 },
            owner: (0, 0),
            device: (0, 0),
            size: None,
            body: body.as_bytes().to_vec(),
            magic: USTAR,
        }
    }

    /// The header block, with a right sum.
    pub(crate) fn header(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block[..100], &self.name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], self.owner.0.into());
        octal(&mut block[116..124], self.owner.1.into());
        octal(&mut block[124..136], self.size.unwrap_or(self.body.len() as u64));
        octal(&mut block[136..148], 1_700_000_000);
        block[156] = self.kind;
        put(&mut block[157..257], &self.link);
        block[257..265].copy_from_slice(self.magic);
        if self.magic != V7 {
            octal(&mut block[329..337], self.device.0.into());
            octal(&mut block[337..345], self.device.1.into());
        }
        sign(&mut block);
        block
    }

    /// All of it, with PAX records before it where names are too long.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        for (key, value) in [("path", &self.name), ("linkpath", &self.link)] {
            if value.len() > 100 {
                records.extend(record(key, value));
            }
        }
        if !records.is_empty() {
            pax(&records, out);
        }
        out.extend(self.header());
        out.extend(&self.body);
        fill(out);
    }
}

/// Writes a header with PAX records.
pub(crate) fn pax(records: &[u8], out: &mut Vec<u8>) {
    let mut raw = Raw::new(b'x', "PaxHeaders/0", "");
    raw.body = records.to_vec();
    raw.write(out);
}

/// One PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..8).map(|digits| rest + digits).find(|length| rest + length.to_string().len() == *length);
    let mut record = format!("{} {key}=", length.unwrap()).into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

/// Fills the last block with zeros.
pub(crate) fn fill(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// Writes the two blocks that end an archive.
pub(crate) fn end(mut out: Vec<u8>) -> Vec<u8> {
    out.extend([0; 2 * BLOCK]);
    out
}

/// Makes the sum of a header right.
pub(crate) fn sign(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn put(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}

fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    // Too large: as GNU does it.
    if text.len() > width {
        field[0] = 0x80;
        let bytes = value.to_be_bytes();
        let start = field.len() - 8;
        if start == 0 {
            field[1..].copy_from_slice(&bytes[1..]);
        } else {
            field[start..].copy_from_slice(&bytes);
        }
    } else {
        field[..width].copy_from_slice(text.as_bytes());
    }
}
