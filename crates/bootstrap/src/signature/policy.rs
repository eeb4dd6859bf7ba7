//! Which signatures count.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PublicKey, Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, PublicParams, Tag, Timestamp, VerifyingKey};

use super::{Keyring, Refusal};

/// How far the clocks of two machines may differ.
const CLOCK_SKEW: u32 = 24 * 3600;
const SHORTEST_RSA: usize = 2048;

/// Returns the fingerprint of the key that made `signature` over `text`, if it counts at `now`.
pub(super) fn check(
    signature: &Signature,
    text: &[u8],
    keyring: &Keyring,
    now: Timestamp,
) -> Result<String, Refusal> {
    if !matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary)) {
        return Err(Refusal::NotUnderstood);
    }
    check_strength(signature)?;
    check_time(signature, now)?;
    let mut refusal = Refusal::UnknownKey;
    for key in &keyring.keys {
        match check_with(signature, text, key, &keyring.only, now) {
            Ok(fingerprint) => return Ok(fingerprint),
            Err(Refusal::UnknownKey) => {}
            Err(other) => refusal = other,
        }
    }
    Err(refusal)
}

/// Names the key that a signature claims to be from.
pub(super) fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(|found| format!("{found:X}"));
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let id = || signature.issuer_key_id().first().map(|found| hex(found.as_ref()));
    fingerprint.or_else(id).unwrap_or_else(|| "of unknown name".to_owned())
}

fn check_with(
    signature: &Signature,
    text: &[u8],
    key: &SignedPublicKey,
    only: &[String],
    now: Timestamp,
) -> Result<String, Refusal> {
    let primary = &key.primary_key;
    if names(signature, primary) {
        let binding = check_primary(key, now)?;
        let flags = binding.key_flags();
        if has_flags(binding) && !flags.sign() {
            return Err(Refusal::NotForSigning);
        }
        check_named(only, &[fingerprint(primary)])?;
        check_key_strength(primary.public_params())?;
        signature.verify(primary, text).map_err(|_wrong| Refusal::Wrong)?;
        return Ok(fingerprint(primary));
    }
    let subkey = key.public_subkeys.iter().find(|subkey| names(signature, &subkey.key));
    let subkey = subkey.ok_or(Refusal::UnknownKey)?;
    check_primary(key, now)?;
    check_subkey(primary, subkey, now)?;
    check_named(only, &[fingerprint(primary), fingerprint(&subkey.key)])?;
    check_key_strength(subkey.key.public_params())?;
    signature.verify(&subkey.key, text).map_err(|_wrong| Refusal::Wrong)?;
    Ok(fingerprint(&subkey.key))
}

fn fingerprint(key: &impl VerifyingKey) -> String {
    format!("{:X}", key.fingerprint())
}

/// Whether the signature says that it is by this key.
fn names(signature: &Signature, key: &impl VerifyingKey) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if fingerprints.is_empty() {
        return signature.issuer_key_id().contains(&&key.legacy_key_id());
    }
    fingerprints.contains(&&key.fingerprint())
}

fn check_named(only: &[String], fingerprints: &[String]) -> Result<(), Refusal> {
    let named = only.is_empty() || fingerprints.iter().any(|fingerprint| only.contains(fingerprint));
    if named { Ok(()) } else { Err(Refusal::NotNamed) }
}

/// Returns the self-signature that counts for a primary key: the latest one, of a user name or of the key itself.
fn check_primary(key: &SignedPublicKey, now: Timestamp) -> Result<&Signature, Refusal> {
    let primary = &key.primary_key;
    // A revocation counts whatever its date: whoever has the key could write any date before it.
    let revoked = |signature: &Signature| {
        signature.typ() == Some(SignatureType::KeyRevocation) && signature.verify_key(primary).is_ok()
    };
    if key.details.revocation_signatures.iter().any(revoked) {
        return Err(Refusal::KeyRevoked);
    }
    let direct = key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key)
            && counts(signature, now)
            && signature.verify_key(primary).is_ok()
    });
    let users = key.details.users.iter().filter_map(|user| {
        let by_owner =
            |signature: &&Signature| signature.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        let of_user = |withdrawn: bool| {
            user.signatures.iter().filter(move |signature| {
                (signature.typ() == Some(SignatureType::CertRevocation)) == withdrawn
            })
        };
        let withdrawn = of_user(true).filter(by_owner).filter_map(Signature::created).max();
        let certified =
            of_user(false).filter(|signature| signature.is_certification() && counts(signature, now));
        let certified = certified.filter(by_owner).max_by_key(|signature| signature.created())?;
        (withdrawn < certified.created()).then_some(certified)
    });
    let binding =
        direct.chain(users).max_by_key(|signature| signature.created()).ok_or(Refusal::KeyUnbound)?;
    check_lifetime(primary.created_at(), binding, now)?;
    Ok(binding)
}

fn check_subkey(primary: &PublicKey, subkey: &SignedPublicSubKey, now: Timestamp) -> Result<(), Refusal> {
    let of_type = |wanted: SignatureType| {
        let of_type = subkey.signatures.iter().filter(move |signature| signature.typ() == Some(wanted));
        of_type.filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
    };
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Err(Refusal::KeyRevoked);
    }
    let binding = of_type(SignatureType::SubkeyBinding)
        .filter(|signature| counts(signature, now))
        .max_by_key(|signature| signature.created())
        .ok_or(Refusal::KeyUnbound)?;
    check_lifetime(subkey.key.created_at(), binding, now)?;
    if !binding.key_flags().sign() {
        return Err(Refusal::NotForSigning);
    }
    // The subkey must agree, or anybody could claim another's signing key as a subkey of his own.
    let agrees = binding.embedded_signature().is_some_and(|back| {
        counts(back, now) && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
    });
    if agrees { Ok(()) } else { Err(Refusal::KeyUnbound) }
}

/// Whether a signature within a key is strong and of now.
fn counts(signature: &Signature, now: Timestamp) -> bool {
    check_strength(signature).is_ok() && check_time(signature, now).is_ok()
}

fn check_lifetime(created: Timestamp, binding: &Signature, now: Timestamp) -> Result<(), Refusal> {
    let lifetime = binding.key_expiration_time().map_or(0, seconds);
    let end = u64::from(created.as_secs()) + u64::from(lifetime);
    if lifetime != 0 && end <= u64::from(now.as_secs()) { Err(Refusal::KeyExpired) } else { Ok(()) }
}

fn check_time(signature: &Signature, now: Timestamp) -> Result<(), Refusal> {
    let created = signature.created().ok_or(Refusal::NotUnderstood)?;
    if created.as_secs() > now.as_secs().saturating_add(CLOCK_SKEW) {
        return Err(Refusal::FromTheFuture);
    }
    let lifetime = signature.signature_expiration_time().map_or(0, seconds);
    let end = u64::from(created.as_secs()) + u64::from(lifetime);
    if lifetime != 0 && end <= u64::from(now.as_secs()) { Err(Refusal::SignatureExpired) } else { Ok(()) }
}

fn seconds(duration: pgp::types::Duration) -> u32 {
    duration.as_secs()
}

fn check_strength(signature: &Signature) -> Result<(), Refusal> {
    let strong = matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    );
    if !strong {
        return Err(Refusal::WeakHash);
    }
    let config = signature.config().ok_or(Refusal::NotUnderstood)?;
    let strange = config.hashed_subpackets().any(|subpacket| {
        subpacket.is_critical
            && match &subpacket.data {
                SubpacketData::Experimental(..) | SubpacketData::Other(..) => true,
                SubpacketData::Notation(notation) => !notation.name.is_empty(),
                _ => false,
            }
    });
    if strange { Err(Refusal::NotUnderstood) } else { Ok(()) }
}

fn check_key_strength(params: &PublicParams) -> Result<(), Refusal> {
    /// Modulus and exponent with their lengths; the exponent of every real key has three bytes.
    const SHORTEST: usize = SHORTEST_RSA / 8 + 5;
    match params {
        PublicParams::RSA(rsa) if rsa.write_len() < SHORTEST => Err(Refusal::WeakKey),
        PublicParams::DSA(_) | PublicParams::Elgamal(_) | PublicParams::Unknown { .. } => {
            Err(Refusal::WeakKey)
        }
        _ => Ok(()),
    }
}

fn has_flags(binding: &Signature) -> bool {
    binding.config().is_some_and(|config| {
        config.hashed_subpackets().any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)))
    })
}
