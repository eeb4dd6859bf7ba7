use std::sync::OnceLock;

use pgp::composed::{
    ArmorOptions, KeyType, SecretKeyParamsBuilder, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, Notation, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::types::{Duration, KeyDetails as _, Password, SignedUser, SigningKey, Tag};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;

const CREATED: u32 = 1_700_000_000;
const NOW: u32 = CREATED + 1_000_000;
const TEXT: &str = "Origin: Debian\nSuite: stable\n- a line with a dash\n";

/// A key with a signing subkey, without any self-signature that counts.
fn material() -> &'static SignedSecretKey {
    static KEY: OnceLock<SignedSecretKey> = OnceLock::new();
    KEY.get_or_init(|| {
        let created = Timestamp::from_secs(CREATED);
        let subkey = SubkeyParamsBuilder::default()
            .key_type(KeyType::ECDSA(ECCCurve::P256))
            .can_sign(true)
            .created_at(created)
            .build()
            .unwrap();
        // RSA, because it signs with any hash function, also with a weak one.
        SecretKeyParamsBuilder::default()
            .key_type(KeyType::Rsa(2048))
            .can_sign(true)
            .can_certify(true)
            .created_at(created)
            .primary_user_id("archive <archive@a.test>".to_owned())
            .subkey(subkey)
            .build()
            .unwrap()
            .generate(StdRng::seed_from_u64(1))
            .unwrap()
    })
}

/// How a signature is made.
#[derive(Clone)]
struct Make {
    kind: SignatureType,
    created: u32,
    hash: HashAlgorithm,
    more: Vec<Subpacket>,
}

impl Make {
    fn new(kind: SignatureType) -> Self {
        Self { kind, created: CREATED + 10, hash: HashAlgorithm::Sha256, more: Vec::new() }
    }

    fn with(mut self, data: SubpacketData) -> Self {
        self.more.push(Subpacket::regular(data).unwrap());
        self
    }

    fn signing(self, sign: bool) -> Self {
        let mut flags = KeyFlags::default();
        flags.set_sign(sign);
        flags.set_certify(true);
        self.with(SubpacketData::KeyFlags(flags))
    }

    fn config(&self, key: &impl SigningKey) -> SignatureConfig {
        let mut config = SignatureConfig::v4(self.kind, key.algorithm(), self.hash);
        let regular = |data| Subpacket::regular(data).unwrap();
        config.hashed_subpackets = vec![
            regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(self.created))),
            regular(SubpacketData::IssuerFingerprint(key.fingerprint())),
        ];
        config.hashed_subpackets.extend(self.more.clone());
        config
    }

    fn over_user(&self) -> Signature {
        let (key, id) = (&material().primary_key, user());
        self.config(key)
            .sign_certification(key, key.public_key(), &Password::empty(), Tag::UserId, &id)
            .unwrap()
    }

    fn over_key(&self) -> Signature {
        let key = &material().primary_key;
        self.config(key).sign_key(key, &Password::empty(), key.public_key()).unwrap()
    }

    fn over_subkey(&self) -> Signature {
        let (key, subkey) = (&material().primary_key, &material().secret_subkeys[0].key);
        self.config(key)
            .sign_subkey_binding(key, key.public_key(), &Password::empty(), subkey.public_key())
            .unwrap()
    }
}

fn user() -> UserId {
    UserId::from_str(Default::default(), "archive <archive@a.test>").unwrap()
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds)
}

/// What makes up a keyring with one key.
struct Ring {
    users: Vec<Signature>,
    key: Vec<Signature>,
    subkey: Vec<Signature>,
}

impl Ring {
    fn good() -> Self {
        Self {
            users: vec![Make::new(SignatureType::CertPositive).signing(true).over_user()],
            key: Vec::new(),
            subkey: vec![agreed(&Make::new(SignatureType::SubkeyBinding).signing(true))],
        }
    }

    fn public(&self) -> SignedPublicKey {
        let secret = material();
        let of_key = |kind: SignatureType| {
            self.key.iter().filter(|signature| signature.typ() == Some(kind)).cloned().collect()
        };
        SignedPublicKey {
            primary_key: secret.primary_key.public_key().clone(),
            details: SignedKeyDetails {
                revocation_signatures: of_key(SignatureType::KeyRevocation),
                direct_signatures: of_key(SignatureType::Key),
                users: vec![SignedUser::new(user(), self.users.clone())],
                user_attributes: Vec::new(),
            },
            public_subkeys: vec![SignedPublicSubKey {
                key: secret.secret_subkeys[0].key.public_key().clone(),
                signatures: self.subkey.clone(),
            }],
        }
    }

    fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add(self.public().to_armored_string(ArmorOptions::default()).unwrap().as_bytes());
        keyring
    }
}

/// A subkey binding that the subkey has agreed to.
fn agreed(make: &Make) -> Signature {
    let (key, subkey) = (&material().primary_key, &material().secret_subkeys[0].key);
    let back = Make { created: make.created, ..Make::new(SignatureType::KeyBinding) };
    let back = back
        .config(subkey)
        .sign_primary_key_binding(subkey, subkey.public_key(), &Password::empty(), key.public_key())
        .unwrap();
    make.clone().with(SubpacketData::EmbeddedSignature(Box::new(back))).over_subkey()
}

fn signed_by(make: &Make, key: &impl SigningKey) -> String {
    let message = CleartextSignedMessage::new(TEXT, make.config(key), key, &Password::empty()).unwrap();
    message.to_armored_string(ArmorOptions::default()).unwrap()
}

fn text_signature() -> Make {
    Make::new(SignatureType::Text)
}

fn check(message: &str, keyring: &Keyring) -> Result<String, Refusal> {
    match verify(message, keyring, Timestamp::from_secs(NOW)) {
        Ok(text) => Ok(text),
        Err(SignatureError::Untrusted { refusals }) => Err(refusals[0].1),
        Err(other) => panic!("{other:?}"),
    }
}

/// An index signed by a throw-away key, and a keyring file's content with that key; for tests of what uses them.
pub(crate) fn signed_with_keyring(text: &str) -> (String, String) {
    let key = &material().primary_key;
    let config = text_signature().config(key);
    let message = CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap();
    let keyring = Ring::good().public().to_armored_string(ArmorOptions::default()).unwrap();
    (message.to_armored_string(ArmorOptions::default()).unwrap(), keyring)
}

/// A time at which those signatures count.
pub(crate) fn now() -> std::time::SystemTime {
    Timestamp::from_secs(NOW).into()
}

#[test]
fn a_good_signature_gives_the_text_that_was_signed() {
    let keyring = Ring::good().keyring();
    for (name, message) in [
        ("primary", signed_by(&text_signature(), &material().primary_key)),
        ("subkey", signed_by(&text_signature(), &material().secret_subkeys[0].key)),
    ] {
        assert_eq!(check(&message, &keyring).unwrap(), TEXT, "case {name}");
    }
}

#[test]
fn a_changed_text_is_refused() {
    let keyring = Ring::good().keyring();
    let good = signed_by(&text_signature(), &material().primary_key);
    for (name, from, to) in [
        ("changed", "stable", "sid"),
        ("added", "Origin: Debian\n", "Origin: Debian\nMore: x\n"),
        ("removed", "Origin: Debian\n", ""),
    ] {
        assert_eq!(check(&good.replace(from, to), &keyring), Err(Refusal::Wrong), "case {name}");
    }
    for (name, message) in [
        ("before", format!("Origin: Evil\n\n{good}")),
        ("after", format!("{good}\nOrigin: Evil\n")),
        ("nothing", "<html></html>".to_owned()),
        ("empty", String::new()),
    ] {
        let error = verify(&message, &keyring, Timestamp::from_secs(NOW)).unwrap_err();
        assert!(matches!(error, SignatureError::NotSigned { .. }), "case {name}: {error:?}");
    }
}

#[test]
fn signatures_that_do_not_count_say_why() {
    let keyring = Ring::good().keyring();
    let primary = &material().primary_key;
    let notation = Notation { readable: true, name: "must@a.test".into(), value: "x".into() };
    let critical = Subpacket::critical(SubpacketData::Notation(notation)).unwrap();
    let expires = |after| text_signature().with(SubpacketData::SignatureExpirationTime(seconds(after)));
    for (name, make, want) in [
        ("SHA-1", Make { hash: HashAlgorithm::Sha1, ..text_signature() }, Err(Refusal::WeakHash)),
        ("SHA-224", Make { hash: HashAlgorithm::Sha224, ..text_signature() }, Err(Refusal::WeakHash)),
        ("SHA-512", Make { hash: HashAlgorithm::Sha512, ..text_signature() }, Ok(())),
        ("expired", expires(10), Err(Refusal::SignatureExpired)),
        ("not yet expired", expires(2_000_000), Ok(())),
        ("future", Make { created: NOW + 200_000, ..text_signature() }, Err(Refusal::FromTheFuture)),
        ("clocks differ", Make { created: NOW + 3600, ..text_signature() }, Ok(())),
        ("critical", Make { more: vec![critical], ..text_signature() }, Err(Refusal::NotUnderstood)),
    ] {
        assert_eq!(check(&signed_by(&make, primary), &keyring).map(drop), want, "case {name}");
    }
}

#[test]
fn primary_keys_that_do_not_count_say_why() {
    let message = signed_by(&text_signature(), &material().primary_key);
    let user = |make: Make| make.over_user();
    let certification = || Make::new(SignatureType::CertPositive).signing(true);
    let later = |make: Make| Make { created: CREATED + 20, ..make };
    let expiring = |after| certification().with(SubpacketData::KeyExpirationTime(seconds(after)));
    let ring = |users: Vec<Signature>| Ring { users, ..Ring::good() };
    let revocation = Make { created: NOW + 99, ..Make::new(SignatureType::KeyRevocation) }.over_key();
    let direct = |after| {
        later(
            Make::new(SignatureType::Key)
                .signing(true)
                .with(SubpacketData::KeyExpirationTime(seconds(after))),
        )
        .over_key()
    };
    for (name, ring, want) in [
        ("expired", ring(vec![user(expiring(1000))]), Err(Refusal::KeyExpired)),
        ("expires later", ring(vec![user(expiring(2_000_000))]), Ok(())),
        ("prolonged", ring(vec![user(expiring(1000)), user(later(certification()))]), Ok(())),
        (
            "shortened",
            ring(vec![user(certification()), user(later(expiring(1000)))]),
            Err(Refusal::KeyExpired),
        ),
        ("shortened directly", Ring { key: vec![direct(1000)], ..Ring::good() }, Err(Refusal::KeyExpired)),
        ("revoked", Ring { key: vec![revocation], ..Ring::good() }, Err(Refusal::KeyRevoked)),
        (
            "user withdrawn",
            ring(vec![user(certification()), user(later(Make::new(SignatureType::CertRevocation)))]),
            Err(Refusal::KeyUnbound),
        ),
        (
            "SHA-1",
            ring(vec![user(Make { hash: HashAlgorithm::Sha1, ..certification() })]),
            Err(Refusal::KeyUnbound),
        ),
        (
            "not for signing",
            ring(vec![user(Make::new(SignatureType::CertPositive).signing(false))]),
            Err(Refusal::NotForSigning),
        ),
        ("without flags", ring(vec![user(Make::new(SignatureType::CertPositive))]), Ok(())),
    ] {
        assert_eq!(check(&message, &ring.keyring()).map(drop), want, "case {name}");
    }
}

#[test]
fn subkeys_that_do_not_count_say_why() {
    let message = signed_by(&text_signature(), &material().secret_subkeys[0].key);
    let binding = || Make::new(SignatureType::SubkeyBinding).signing(true);
    let ring = |subkey: Vec<Signature>| Ring { subkey, ..Ring::good() };
    let revoked = Make::new(SignatureType::SubkeyRevocation).over_subkey();
    let expired = binding().with(SubpacketData::KeyExpirationTime(seconds(1000)));
    let primary_expired = Make::new(SignatureType::CertPositive)
        .signing(true)
        .with(SubpacketData::KeyExpirationTime(seconds(1000)))
        .over_user();
    for (name, ring, want) in [
        ("good", ring(vec![agreed(&binding())]), Ok(())),
        ("not agreed", ring(vec![binding().over_subkey()]), Err(Refusal::KeyUnbound)),
        (
            "SHA-1",
            ring(vec![agreed(&Make { hash: HashAlgorithm::Sha1, ..binding() })]),
            Err(Refusal::KeyUnbound),
        ),
        ("expired", ring(vec![agreed(&expired)]), Err(Refusal::KeyExpired)),
        ("revoked", ring(vec![agreed(&binding()), revoked]), Err(Refusal::KeyRevoked)),
        (
            "not for signing",
            ring(vec![agreed(&Make::new(SignatureType::SubkeyBinding).signing(false))]),
            Err(Refusal::NotForSigning),
        ),
        ("primary expired", Ring { users: vec![primary_expired], ..Ring::good() }, Err(Refusal::KeyExpired)),
    ] {
        assert_eq!(check(&message, &ring.keyring()).map(drop), want, "case {name}");
    }
}

#[test]
fn only_named_keys_count_and_unknown_ones_never() {
    let message = signed_by(&text_signature(), &material().secret_subkeys[0].key);
    let mut keyring = Ring::good().keyring();
    keyring.restrict_to(&"A".repeat(40));
    assert_eq!(check(&message, &keyring), Err(Refusal::NotNamed));
    keyring.restrict_to(&format!("{:X}", material().primary_key.fingerprint()));
    assert!(check(&message, &keyring).is_ok());

    let stranger = SecretKeyParamsBuilder::default()
        .key_type(KeyType::ECDSA(ECCCurve::P256))
        .can_sign(true)
        .primary_user_id("x".to_owned())
        .build()
        .unwrap()
        .generate(StdRng::seed_from_u64(2))
        .unwrap();
    let message = signed_by(&text_signature(), &stranger.primary_key);
    assert_eq!(check(&message, &Ring::good().keyring()), Err(Refusal::UnknownKey));
    let error = verify(&message, &Keyring::default(), Timestamp::from_secs(NOW)).unwrap_err();
    assert!(matches!(error, SignatureError::NoKeys));
}

#[test]
fn keyring_files_are_binary_or_armoured_and_bad_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (armoured, binary, bad) =
        (dir.path().join("a.asc"), dir.path().join("b.gpg"), dir.path().join("c.gpg"));
    let key = Ring::good().public();
    let text = key.to_armored_string(ArmorOptions::default()).unwrap();
    fs_err::write(&armoured, text.repeat(2)).unwrap();
    fs_err::write(&binary, pgp::ser::Serialize::to_bytes(&key).unwrap()).unwrap();
    fs_err::write(&bad, "no key").unwrap();
    for (path, want) in [(&armoured, 2), (&binary, 1)] {
        let mut keyring = Keyring::default();
        keyring.add_file(path).unwrap();
        assert_eq!(keyring.keys.len(), want, "{}", path.display());
    }
    let error = Keyring::default().add_file(&bad).unwrap_err();
    assert!(error.to_string().contains("c.gpg"), "{error}");
}
