//! BEP 44: items, immutable ones under their own hash and mutable ones under a key.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::bencode::{self, Limits, dict_entries, list_items};
use crate::wire::krpc::{MAX_ITEM_LEN, MAX_SALT_LEN, NodeId};

/// A value is nested no deeper than this.
const MAX_DEPTH: usize = 16;

/// What can be stored in the DHT for everybody to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A value under its own hash, which nobody can change.
    Immutable(Value),
    /// A value under a public key, which its owner can change.
    Mutable(MutableItem),
}

impl Item {
    /// Where it is stored.
    #[must_use]
    pub fn target(&self) -> NodeId {
        match self {
            Self::Immutable(value) => value.target(),
            Self::Mutable(item) => item.target(),
        }
    }

    /// Its value, bencoded.
    #[must_use]
    pub fn value(&self) -> &Bytes {
        match self {
            Self::Immutable(value) => value.as_bytes(),
            Self::Mutable(item) => item.value.as_bytes(),
        }
    }
}

/// Why something is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The value is not one bencoded value with its keys in order and its numbers in their shortest form.
    #[error("the value is not in canonical bencoding")]
    NotCanonical,
    /// The value is too long.
    #[error("the value is longer than {MAX_ITEM_LEN} bytes")]
    TooLong,
    /// The salt is too long.
    #[error("the salt is longer than {MAX_SALT_LEN} bytes")]
    SaltTooLong,
    /// The sequence number is negative.
    #[error("the sequence number is negative")]
    NegativeSeq,
    /// The signature is not that of the key's owner.
    #[error("the signature does not match")]
    BadSignature,
}

/// A bencoded value of at most [`MAX_ITEM_LEN`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Value(Bytes);

impl Value {
    /// A value that is bencoded.
    ///
    /// # Errors
    ///
    /// [`ItemError::TooLong`], [`ItemError::NotCanonical`].
    pub fn new(bencoded: impl Into<Bytes>) -> Result<Self, ItemError> {
        let bencoded = bencoded.into();
        if bencoded.len() > MAX_ITEM_LEN {
            return Err(ItemError::TooLong);
        }
        if !is_canonical(&bencoded) {
            return Err(ItemError::NotCanonical);
        }
        Ok(Self(bencoded))
    }

    /// A byte string.
    ///
    /// # Errors
    ///
    /// [`ItemError::TooLong`] when it does not fit with its length before it.
    pub fn from_string(bytes: &[u8]) -> Result<Self, ItemError> {
        let mut bencoded = Vec::new();
        put_string(&mut bencoded, bytes);
        Self::new(bencoded)
    }

    /// The value, bencoded.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Where it is stored as an immutable item: under its hash.
    #[must_use]
    pub fn target(&self) -> NodeId {
        NodeId::new(Sha1::digest(&self.0).into())
    }
}

impl TryFrom<Bytes> for Value {
    type Error = ItemError;

    fn try_from(bytes: Bytes) -> Result<Self, ItemError> {
        Self::new(bytes)
    }
}

impl From<Value> for Bytes {
    fn from(value: Value) -> Self {
        value.0
    }
}

/// The key that signs mutable items. It stays with its owner: commands carry signed items only, so that no recording
/// of events holds a secret.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key that follows from 32 secret random bytes.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// By which others know it.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A value that its owner signed, and can put another one in place of. The signature was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct MutableItem {
    key: [u8; 32],
    salt: Bytes,
    seq: i64,
    value: Value,
    signature: [u8; 64],
}

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Parts {
    key: [u8; 32],
    salt: Bytes,
    seq: i64,
    value: Value,
    signature: Bytes,
}

impl MutableItem {
    /// Signs a value. The salt tells the items of one key apart, and may be empty; the sequence number must grow with
    /// each change.
    ///
    /// # Errors
    ///
    /// [`ItemError::SaltTooLong`], [`ItemError::NegativeSeq`].
    pub fn sign(
        secret: &SecretKey,
        salt: impl Into<Bytes>,
        seq: i64,
        value: Value,
    ) -> Result<Self, ItemError> {
        use ed25519_dalek::Signer;
        let salt = salt.into();
        check_form(&salt, seq)?;
        let signature = secret.0.sign(&signed(&salt, seq, &value.0)).to_bytes();
        Ok(Self {
            key: secret.public(),
            salt,
            seq,
            value,
            signature,
        })
    }

    /// Takes an item that somebody else signed.
    ///
    /// # Errors
    ///
    /// [`ItemError::BadSignature`], and what [`sign`](Self::sign) has.
    pub fn new(
        key: [u8; 32],
        salt: impl Into<Bytes>,
        seq: i64,
        value: Value,
        signature: [u8; 64],
    ) -> Result<Self, ItemError> {
        let salt = salt.into();
        check_form(&salt, seq)?;
        let message = signed(&salt, seq, &value.0);
        VerifyingKey::from_bytes(&key)
            .and_then(|key| key.verify_strict(&message, &Signature::from_bytes(&signature)))
            .map_err(|_| ItemError::BadSignature)?;
        Ok(Self {
            key,
            salt,
            seq,
            value,
            signature,
        })
    }

    /// Where it is stored.
    #[must_use]
    pub fn target(&self) -> NodeId {
        mutable_target(&self.key, &self.salt)
    }

    /// The owner's public key.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// What tells it apart from others of the key.
    #[must_use]
    pub fn salt(&self) -> &Bytes {
        &self.salt
    }

    /// How often it was changed, as its owner counts.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The owner's signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

impl TryFrom<Parts> for MutableItem {
    type Error = ItemError;

    fn try_from(parts: Parts) -> Result<Self, ItemError> {
        let signature = parts.signature.as_ref().try_into();
        let signature = signature.map_err(|_| ItemError::BadSignature)?;
        Self::new(parts.key, parts.salt, parts.seq, parts.value, signature)
    }
}

impl From<MutableItem> for Parts {
    fn from(item: MutableItem) -> Self {
        Self {
            key: item.key,
            salt: item.salt,
            seq: item.seq,
            value: item.value,
            signature: Bytes::copy_from_slice(&item.signature),
        }
    }
}

/// Where the mutable items of a key are stored.
#[must_use]
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> NodeId {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(salt);
    NodeId::new(hash.finalize().into())
}

fn check_form(salt: &[u8], seq: i64) -> Result<(), ItemError> {
    if salt.len() > MAX_SALT_LEN {
        return Err(ItemError::SaltTooLong);
    }
    if seq < 0 {
        return Err(ItemError::NegativeSeq);
    }
    Ok(())
}

/// What is signed.
fn signed(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(100 + value.len());
    if !salt.is_empty() {
        out.extend(b"4:salt");
        put_string(&mut out, salt);
    }
    out.extend(alloc::format!("3:seqi{seq}e1:v").into_bytes());
    out.extend(value);
    out
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(alloc::format!("{}:", bytes.len()).into_bytes());
    out.extend(bytes);
}

/// Whether there is one bencoded value and nothing else, with all keys in order and all numbers in their shortest
/// form.
fn is_canonical(bytes: &[u8]) -> bool {
    let limits = Limits {
        depth: MAX_DEPTH,
        tokens: MAX_ITEM_LEN,
        leading_zeros: false,
    };
    bencode::scan_all(bytes, limits).is_ok() && has_ordered_keys(bytes)
}

/// No deeper than the scan that came before.
fn has_ordered_keys(bytes: &[u8]) -> bool {
    let mut last: Option<&[u8]> = None;
    let ordered = dict_entries(bytes).all(|(key, value)| {
        let in_order = last.is_none_or(|last| last < key);
        last = Some(key);
        in_order && bytes.get(value).is_some_and(has_ordered_keys)
    });
    ordered && list_items(bytes).all(|item| bytes.get(item).is_some_and(has_ordered_keys))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use data_encoding::HEXLOWER;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        HEXLOWER
            .decode(text.as_bytes())
            .unwrap()
            .try_into()
            .unwrap()
    }

    const KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

    #[test]
    fn the_examples_of_the_specification_are_verified() {
        let value = Value::from_string(b"Hello World!").unwrap();
        assert_eq!(
            value.target().to_string(),
            "e5f96f6f38320f0f33959cb4d3d656452117aadb"
        );
        let plain = MutableItem::new(
            hex(KEY),
            Bytes::new(),
            1,
            value.clone(),
            hex("305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"),
        )
        .unwrap();
        assert_eq!(
            plain.target().to_string(),
            "4a533d47ec9c7d95b1ad75f576cffc641853b750"
        );
        let salted_signature = hex(
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        );
        let salted = MutableItem::new(hex(KEY), &b"foobar"[..], 1, value.clone(), salted_signature);
        let salted = salted.unwrap();
        assert_eq!(
            salted.target().to_string(),
            "411eba73b6f087ca51a3795d9c8c938d365e32c1"
        );
        for (salt, seq) in [(&b"foobaz"[..], 1), (b"foobar", 2), (b"", 1)] {
            let forged = MutableItem::new(hex(KEY), salt, seq, value.clone(), salted_signature);
            assert_eq!(forged, Err(ItemError::BadSignature));
        }
    }

    #[test]
    fn what_is_signed_can_be_verified_by_others() {
        let secret = SecretKey::new(&[9; 32]);
        let value = Value::new(&b"d1:ai1e1:bl2:xyee"[..]).unwrap();
        let item = MutableItem::sign(&secret, &b"salt"[..], 7, value).unwrap();
        let again = MutableItem::new(
            *item.key(),
            item.salt().clone(),
            item.seq(),
            item.value().clone(),
            *item.signature(),
        );
        assert_eq!(again, Ok(item.clone()));
        assert_eq!(*item.key(), secret.public());
        assert_eq!(std::format!("{secret:?}"), "SecretKey(..)");
        let written = bt_bencode::to_vec(&item).unwrap();
        let read: MutableItem = bt_bencode::from_slice(&written).unwrap();
        assert_eq!(read, item);
    }

    #[test]
    fn values_must_be_canonical_and_short() {
        for good in [
            "i1e",
            "i-1e",
            "0:",
            "le",
            "de",
            "d1:a0:1:bd1:ci1eee",
            "lli1eee",
        ] {
            assert!(Value::new(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "",
            "i01e",
            "i-0e",
            "01:a",
            "i1ei1e",
            "d1:b0:1:a0:e",
            "d1:a0:1:a0:e",
            "ld1:b0:1:a0:ee",
            "x",
        ] {
            assert_eq!(
                Value::new(bad.as_bytes()),
                Err(ItemError::NotCanonical),
                "{bad}"
            );
        }
        assert!(Value::from_string(&[0; 996]).is_ok());
        assert_eq!(Value::from_string(&[0; 997]), Err(ItemError::TooLong));
        let secret = SecretKey::new(&[9; 32]);
        let value = Value::new(&b"le"[..]).unwrap();
        let sign = |salt: &'static [u8], seq| MutableItem::sign(&secret, salt, seq, value.clone());
        assert_eq!(sign(&[0; 65], 1), Err(ItemError::SaltTooLong));
        assert_eq!(sign(&[0; 64], -1), Err(ItemError::NegativeSeq));
    }
}
