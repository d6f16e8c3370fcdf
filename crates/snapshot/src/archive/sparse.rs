//! Maps of sparse files: GNU's old header, PAX formats 0.0 and 0.1 (records) and 1.0 (before the content).
//!
//! GNU tar manual, "Sparse Formats" (appendix D.2).

use super::reader::{TarError, malformed, number};

/// Most pieces of one file.
const MOST: usize = 1 << 20;

/// What PAX records say about a sparse file.
#[derive(Default)]
pub(super) struct SparseRecords {
    /// The file's name; the member's own is made up.
    pub name: Option<Vec<u8>>,
    pub map: Vec<(u64, u64)>,
    major: u64,
    /// In format 1.0 and 0.1, or in 0.0.
    real_size: Option<u64>,
    /// An offset whose length is still to come (0.0).
    offset: Option<u64>,
}

impl SparseRecords {
    /// Takes a record whose key began with `GNU.sparse.`.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = decimal(value)?,
            b"realsize" | b"size" => self.real_size = Some(decimal(value)?),
            b"offset" => self.offset = Some(decimal(value)?),
            b"numbytes" => match self.offset.take() {
                Some(offset) => push(&mut self.map, (offset, decimal(value)?))?,
                None => return malformed("a sparse file's map has a length without its offset"),
            },
            b"map" => {
                self.map.clear();
                let numbers: Vec<u64> = if value.is_empty() {
                    Vec::new()
                } else {
                    value.split(|byte| *byte == b',').map(decimal).collect::<Result<_, _>>()?
                };
                if !numbers.len().is_multiple_of(2) {
                    return malformed("a sparse file's map has an offset without its length");
                }
                for pair in numbers.chunks_exact(2) {
                    push(&mut self.map, (pair[0], pair[1]))?;
                }
            }
            // `minor`, `numblocks`: what they say is known otherwise.
            _ => {}
        }
        Ok(())
    }

    /// Returns the length of the file, `None` when it is an ordinary one.
    pub(super) fn real_size(&self) -> Result<Option<u64>, TarError> {
        if self.real_size.is_none() && (!self.map.is_empty() || self.major != 0) {
            return malformed("a sparse file has no length");
        }
        Ok(self.real_size)
    }

    pub(super) fn is_map_in_content(&self) -> bool {
        self.major > 0
    }
}

/// The numbers of a map that lies before the content.
#[derive(Default)]
pub(super) struct Numbers {
    found: Vec<u64>,
    digits: Vec<u8>,
}

impl Numbers {
    /// Takes one more block. What comes after the last number pads it.
    pub(super) fn add(&mut self, block: &[u8]) -> Result<(), TarError> {
        for byte in block {
            if self.is_complete() {
                break;
            }
            match byte {
                b'\n' => self.found.push(decimal(&std::mem::take(&mut self.digits))?),
                digit if self.digits.len() < 20 => self.digits.push(*digit),
                _ => return malformed("a sparse file's map holds no number"),
            }
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.found.first().is_some_and(|count| (self.found.len() as u64 - 1) / 2 >= *count)
    }

    /// Returns the map once all of it was read.
    pub(super) fn map(&self) -> Result<Option<Vec<(u64, u64)>>, TarError> {
        if self.found.first().is_some_and(|count| *count > MOST as u64) {
            return malformed("a sparse file has too many pieces");
        }
        if !self.is_complete() {
            return Ok(None);
        }
        Ok(Some(self.found[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
    }
}

/// Reads the beginning of a map from an old GNU header.
pub(super) fn old_map(header: &[u8]) -> Result<Vec<(u64, u64)>, TarError> {
    let mut map = Vec::new();
    extend(&mut map, &header[386..482])?;
    Ok(map)
}

/// Reads pairs of twelve-byte numbers.
pub(super) fn extend(map: &mut Vec<(u64, u64)>, pairs: &[u8]) -> Result<(), TarError> {
    for pair in pairs.chunks_exact(24) {
        if pair[12] == 0 && pair[0] == 0 {
            break;
        }
        push(map, (number(&pair[..12], "offset")?, number(&pair[12..], "length")?))?;
    }
    Ok(())
}

/// Refuses a map whose pieces overlap, lie outside of the file or are not what the archive holds.
pub(super) fn check(map: &[(u64, u64)], length: u64, stored: u64) -> Result<(), TarError> {
    let (mut end, mut total) = (0_u64, 0_u64);
    for (offset, count) in map {
        let last = offset.checked_add(*count).filter(|last| *last <= length && *offset >= end);
        let Some(last) = last else { return malformed("a sparse file's map is out of order") };
        end = last;
        total += count;
    }
    if total != stored {
        return malformed("a sparse file's map does not fit its content");
    }
    if length > i64::MAX as u64 {
        return malformed("a sparse file is too long");
    }
    Ok(())
}

fn push(map: &mut Vec<(u64, u64)>, piece: (u64, u64)) -> Result<(), TarError> {
    if map.len() >= MOST {
        return malformed("a sparse file has too many pieces");
    }
    map.push(piece);
    Ok(())
}

fn decimal(digits: &[u8]) -> Result<u64, TarError> {
    let number =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match number.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(number),
        None => malformed("a sparse file's map holds no number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_must_be_in_order_and_fit() {
        for (map, length, stored, good) in [
            (&[(0, 3), (10, 2)][..], 12, 5, true),
            (&[(0, 3), (20, 0)], 20, 3, true),
            (&[], 1 << 40, 0, true),
            (&[(0, 3), (2, 2)], 12, 5, false),
            (&[(10, 2), (0, 3)], 12, 5, false),
            (&[(0, 3), (10, 3)], 12, 6, false),
            (&[(0, 3)], 12, 4, false),
            (&[(u64::MAX, 3)], 12, 3, false),
            (&[], u64::MAX, 0, false),
        ] {
            assert_eq!(check(map, length, stored).is_ok(), good, "{map:?} {length} {stored}");
        }
    }

    #[test]
    fn records_of_both_kinds_are_read() {
        let mut records = SparseRecords::default();
        for (key, value) in
            [("size", "100"), ("offset", "5"), ("numbytes", "6"), ("offset", "50"), ("numbytes", "0")]
        {
            records.add(key.as_bytes(), value.as_bytes()).ok().unwrap();
        }
        assert_eq!(
            (records.real_size().ok(), records.map.as_slice()),
            (Some(Some(100)), &[(5, 6), (50, 0)][..])
        );
        records.add(b"map", b"1,2,3,4").ok().unwrap();
        assert_eq!(records.map, [(1, 2), (3, 4)]);
        for (key, value) in [("map", "1"), ("map", "1,x"), ("numbytes", "1"), ("size", "-1"), ("major", "")] {
            assert!(records.add(key.as_bytes(), value.as_bytes()).is_err(), "{key}={value}");
        }
    }
}
