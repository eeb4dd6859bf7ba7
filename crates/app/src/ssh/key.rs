//! A key that signs. Spec: RFC 4253, RFC 5656, RFC 8332, RFC 8709; ring does the mathematics.

use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};

use super::wire::Writer;

/// What a request to sign says of RSA. Spec: draft-miller-ssh-agent section 4.5.1.
const SHA2_256: u32 = 2;
const SHA2_512: u32 = 4;

/// A private key.
#[derive(Debug)]
pub(super) enum Key {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair, Curve),
    Rsa(Box<RsaKeyPair>),
}

/// A curve of NIST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
        }
    }

    pub(super) fn algorithm(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        }
    }
}

impl Key {
    /// Returns the public key, by which a client names it.
    pub(super) fn public(&self) -> Vec<u8> {
        let written = Writer::default();
        match self {
            Self::Ed25519(pair) => written.string("ssh-ed25519").string(pair.public_key()).0,
            Self::Ecdsa(pair, curve) => {
                let name = curve.name();
                written.string(format!("ecdsa-sha2-{name}")).string(name).string(pair.public_key()).0
            }
            Self::Rsa(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                written.string("ssh-rsa").integer(&e).integer(&n).0
            }
        }
    }

    /// Signs. `None` where it cannot be done so: an RSA signature with SHA-1, which servers have refused since 2021.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let written = Writer::default();
        match self {
            Self::Ed25519(pair) => Some(written.string("ssh-ed25519").string(pair.sign(data)).0),
            Self::Ecdsa(pair, curve) => {
                let signature = pair.sign(&SystemRandom::new(), data).ok()?;
                let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
                let both = Writer::default().integer(r).integer(s).0;
                Some(written.string(format!("ecdsa-sha2-{}", curve.name())).string(both).0)
            }
            Self::Rsa(pair) => {
                let (name, padding) = match flags {
                    flags if flags & SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    flags if flags & SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    _ => return None,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &SystemRandom::new(), data, &mut signature).ok()?;
                Some(written.string(name).string(signature).0)
            }
        }
    }
}
