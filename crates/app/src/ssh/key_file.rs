//! Keys in files: those of OpenSSH, and the PEM that it wrote before and others write. Spec: PROTOCOL.key of OpenSSH.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};

use super::Identity;
use super::key::{Curve, Key};
use super::remainder::remainder_less_one;
use super::wire::Reader;
use crate::regular;

/// A larger file holds something else. Compat: BuildKit.
const LARGEST: u64 = 100 << 10;
/// What an OpenSSH key begins with.
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Why a file gives no key.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum KeyFileError {
    #[error("cannot read the ssh key `{path}`")]
    #[diagnostic(
        code(build::ssh_key),
        help("name the file of a private key: --ssh default=$HOME/.ssh/id_ed25519")
    )]
    Read { path: String, source: std::io::Error },
    #[error("the ssh key `{path}` is no file")]
    #[diagnostic(
        code(build::ssh_key),
        help("name the file of a private key: --ssh default=$HOME/.ssh/id_ed25519")
    )]
    NoFile { path: String },
    #[error("`{path}` is no private ssh key: {why}")]
    #[diagnostic(
        code(build::ssh_key),
        help("name the file of a private key: --ssh default=$HOME/.ssh/id_ed25519")
    )]
    NoKey { path: String, why: &'static str },
    #[error("the ssh key `{path}` has a passphrase")]
    #[diagnostic(
        code(build::ssh_key),
        help(
            "give it to an agent, which asks for that: `eval $(ssh-agent); ssh-add {path}`, then --ssh default"
        )
    )]
    Encrypted { path: String },
    #[error("the ssh key `{path}` cannot be used here: {why}")]
    #[diagnostic(
        code(build::ssh_key),
        help("give it to an agent: `eval $(ssh-agent); ssh-add {path}`, then --ssh default")
    )]
    Unsupported { path: String, why: String },
}

/// What is wrong with a file.
#[derive(Debug, PartialEq)]
enum Wrong {
    NoKey(&'static str),
    Encrypted,
    Unsupported(String),
}

const DAMAGED: Wrong = Wrong::NoKey("it is damaged");

/// Reads a key.
pub(super) fn load(path: &Path) -> Result<Identity, KeyFileError> {
    let read = || {
        let mut text = String::new();
        let Some(file) = regular::open(path)? else { return Ok(None) };
        file.take(LARGEST).read_to_string(&mut text)?;
        Ok(Some(text))
    };
    let path = path.display().to_string();
    let text = match read() {
        Ok(Some(text)) => text,
        Ok(None) => return Err(KeyFileError::NoFile { path }),
        Err(source) => return Err(KeyFileError::Read { path, source }),
    };
    let (key, comment) = match parse(&text) {
        Ok(parsed) => parsed,
        Err(Wrong::NoKey(why)) => return Err(KeyFileError::NoKey { path, why }),
        Err(Wrong::Encrypted) => return Err(KeyFileError::Encrypted { path }),
        Err(Wrong::Unsupported(why)) => return Err(KeyFileError::Unsupported { path, why }),
    };
    let comment = comment.filter(|comment| !comment.is_empty());
    Ok(Identity { key, comment: comment.unwrap_or(path) })
}

fn parse(text: &str) -> Result<(Key, Option<String>), Wrong> {
    let Some((_, rest)) = text.split_once("-----BEGIN ") else {
        let is_public = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind));
        let why = if is_public { "it is a public one" } else { "it does not begin as one" };
        return Err(Wrong::NoKey(why));
    };
    let (kind, rest) = rest.split_once("-----").ok_or(DAMAGED)?;
    let (body, _) = rest.split_once("-----END ").ok_or(DAMAGED)?;
    if body.contains("ENCRYPTED") || kind == "ENCRYPTED PRIVATE KEY" {
        return Err(Wrong::Encrypted);
    }
    let letters: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(letters).map_err(|_no_base64| DAMAGED)?;
    match kind {
        "OPENSSH PRIVATE KEY" => openssh(&bytes),
        "RSA PRIVATE KEY" => Ok((rsa(RsaKeyPair::from_der(&bytes))?, None)),
        "PRIVATE KEY" => Ok((pkcs8(&bytes)?, None)),
        "EC PRIVATE KEY" | "DSA PRIVATE KEY" => {
            Err(Wrong::Unsupported(format!("its format, `{kind}`, is an old one")))
        }
        _ => Err(Wrong::NoKey("it holds something else")),
    }
}

fn pkcs8(bytes: &[u8]) -> Result<Key, Wrong> {
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes) {
        return Ok(Key::Ed25519(pair));
    }
    let random = ring::rand::SystemRandom::new();
    for curve in [Curve::P256, Curve::P384] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve.algorithm(), bytes, &random) {
            return Ok(Key::Ecdsa(pair, curve));
        }
    }
    rsa(RsaKeyPair::from_pkcs8(bytes))
}

fn rsa(pair: Result<RsaKeyPair, ring::error::KeyRejected>) -> Result<Key, Wrong> {
    let unsupported =
        |error| format!("only ed25519, ecdsa with P-256 or P-384, rsa with 2048 to 4096 bits are ({error})");
    pair.map(|pair| Key::Rsa(Box::new(pair))).map_err(|error| Wrong::Unsupported(unsupported(error)))
}

fn openssh(bytes: &[u8]) -> Result<(Key, Option<String>), Wrong> {
    let mut outer = Reader(bytes.strip_prefix(MAGIC).ok_or(DAMAGED)?);
    let cipher = outer.string().ok_or(DAMAGED)?;
    if cipher != b"none" {
        return Err(Wrong::Encrypted);
    }
    let (_kdf, _options, count) = (outer.string(), outer.string(), outer.number().ok_or(DAMAGED)?);
    if count != 1 {
        return Err(Wrong::Unsupported(format!("it holds {count} keys")));
    }
    let _public = outer.string();
    let mut inner = Reader(outer.string().ok_or(DAMAGED)?);
    if inner.number().ok_or(DAMAGED)? != inner.number().ok_or(DAMAGED)? {
        return Err(DAMAGED);
    }
    let key = match inner.string().ok_or(DAMAGED)? {
        b"ssh-ed25519" => ed25519(&mut inner)?,
        b"ssh-rsa" => rsa_of_openssh(&mut inner)?,
        b"ecdsa-sha2-nistp256" => ecdsa(&mut inner, Curve::P256)?,
        b"ecdsa-sha2-nistp384" => ecdsa(&mut inner, Curve::P384)?,
        other => {
            let kind = String::from_utf8_lossy(other).into_owned();
            return Err(Wrong::Unsupported(format!("it is of the kind `{kind}`")));
        }
    };
    let comment = inner.string().ok_or(DAMAGED)?;
    Ok((key, Some(String::from_utf8_lossy(comment).into_owned())))
}

fn ed25519(key: &mut Reader<'_>) -> Result<Key, Wrong> {
    let (public, private) = (key.string().ok_or(DAMAGED)?, key.string().ok_or(DAMAGED)?);
    let (seed, _) = private.split_at_checked(32).ok_or(DAMAGED)?;
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public);
    pair.map(Key::Ed25519).map_err(|_other_public_key| DAMAGED)
}

fn ecdsa(key: &mut Reader<'_>, curve: Curve) -> Result<Key, Wrong> {
    let (_name, public) = (key.string().ok_or(DAMAGED)?, key.string().ok_or(DAMAGED)?);
    let number = key.integer().ok_or(DAMAGED)?;
    // An uncompressed point is one byte and two numbers of the curve's length, which the private one has too.
    let length = public.len().checked_sub(1).ok_or(DAMAGED)? / 2;
    let mut private = vec![0; length.checked_sub(number.len()).ok_or(DAMAGED)?];
    private.extend(number);
    let random = ring::rand::SystemRandom::new();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.algorithm(), &private, public, &random);
    pair.map(|pair| Key::Ecdsa(pair, curve)).map_err(|_other_public_key| DAMAGED)
}

fn rsa_of_openssh(key: &mut Reader<'_>) -> Result<Key, Wrong> {
    let mut next = || key.integer().ok_or(DAMAGED);
    let (n, e, d, q_inverse, p, q) = (next()?, next()?, next()?, next()?, next()?, next()?);
    let of = |prime: &[u8]| remainder_less_one(d, prime).ok_or(DAMAGED);
    let (d_p, d_q) = (of(p)?, of(q)?);
    rsa(RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n, e },
        d,
        p,
        q,
        dP: super::wire::without_zeros(&d_p),
        dQ: super::wire::without_zeros(&d_q),
        qInv: q_inverse,
    }))
}

#[cfg(test)]
mod tests;
