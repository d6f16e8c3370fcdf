//! A small mutational fuzzer for stable Rust: a seeded generator, a corpus, a dictionary and a target.
//!
//! A target is `crates/X/tests/fuzz_*.rs` with one test that calls [`Fuzz::run`]. It runs for
//! `CORACLE_FUZZ_SECONDS` seconds (5 unless set; CI sets 60; set hours by hand) from the seed
//! `CORACLE_FUZZ_SEED` (fixed unless set), so that equal seeds try equal inputs in equal order.
//! The target answers a number that says what kind of outcome the input had (an error's code, the number of parts);
//! inputs with a new outcome join the pool that later mutations start from. An input that makes the target panic is
//! written to a file, which the failure names; `CORACLE_FUZZ_INPUT=FILE` then tries just that input.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest input that is tried, in bytes.
const LONGEST: usize = 1 << 16;
/// Most inputs that mutations start from.
const POOL: usize = 4096;

/// A fuzz target's inputs.
pub struct Fuzz {
    name: &'static str,
    corpus: Vec<Vec<u8>>,
    dictionary: Vec<Vec<u8>>,
}

/// Returns a number that stands for an outcome, for [`Fuzz::run`].
pub fn outcome(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Fuzz {
    /// Begins a target; `name` is part of the name of a failing input's file.
    pub fn new(name: &'static str) -> Self {
        Self { name, corpus: Vec::new(), dictionary: Vec::new() }
    }

    /// Adds an input to start from.
    pub fn seed(mut self, input: impl AsRef<[u8]>) -> Self {
        self.corpus.push(input.as_ref().to_vec());
        self
    }

    /// Adds words that the format knows, to be put into inputs.
    pub fn words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.dictionary.extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// Tries mutated inputs until the time is over; panics with the file of the first input that makes `target`
    /// panic. Prints how many were tried.
    #[expect(clippy::print_stderr, reason = "a fuzz run says what it did")]
    pub fn run(mut self, target: impl Fn(&[u8]) -> u64) {
        if let Some(path) = std::env::var_os("CORACLE_FUZZ_INPUT") {
            let input = std::fs::read(&path).expect("the input's file is readable");
            target(&input);
            return;
        }
        let seconds = number("CORACLE_FUZZ_SECONDS").unwrap_or(5);
        let seed = number("CORACLE_FUZZ_SEED").unwrap_or(0x00c0_ac1e);
        let mut random = Random(seed);
        let end = Instant::now() + Duration::from_secs(seconds);
        if self.corpus.is_empty() {
            self.corpus.push(Vec::new());
        }
        let mut seen = HashSet::new();
        for input in self.corpus.clone() {
            seen.insert(self.attempt(&input, &target));
        }
        let mut tried = self.corpus.len() as u64;
        // The clock is asked now and then, not at every input.
        while !tried.is_multiple_of(64) || Instant::now() < end {
            let input = self.mutated(&mut random);
            let outcome = self.attempt(&input, &target);
            if seen.insert(outcome) {
                if self.corpus.len() < POOL {
                    self.corpus.push(input);
                } else {
                    let at = random.below(POOL);
                    self.corpus[at] = input;
                }
            }
            tried += 1;
        }
        eprintln!("fuzz {}: {tried} inputs, {} outcomes, seed {seed}", self.name, seen.len());
    }

    fn attempt(&self, input: &[u8], target: &impl Fn(&[u8]) -> u64) -> u64 {
        match catch_unwind(AssertUnwindSafe(|| target(input))) {
            Ok(outcome) => outcome,
            Err(panic) => {
                let path = self.keep(input);
                let message = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied());
                match message {
                    Some(message) => panic!(
                        "{} failed on {} (try it again with CORACLE_FUZZ_INPUT): {message}",
                        self.name,
                        path.display()
                    ),
                    None => resume_unwind(panic),
                }
            }
        }
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        let directory = std::env::temp_dir();
        let path = Path::new(&directory).join(format!("fuzz-{}-{:016x}", self.name, outcome(input)));
        std::fs::write(&path, input).expect("the failing input can be written");
        path
    }

    fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut input = self.corpus[random.below(self.corpus.len())].clone();
        for _ in 0..=random.below(6) {
            self.mutate(&mut input, random);
        }
        input.truncate(LONGEST);
        input
    }

    fn mutate(&self, input: &mut Vec<u8>, random: &mut Random) {
        const BYTES: [u8; 12] = [0, 1, 9, 10, 13, 32, 34, 39, 47, 92, 0x7f, 0xff];
        let at = random.below(input.len() + 1);
        match random.below(10) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 => input.insert(at, BYTES[random.below(BYTES.len())]),
            2 => {
                let end = (at + 1 + random.below(16)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let end = (at + 1 + random.below(32)).min(input.len());
                let copy = input[at..end].to_vec();
                let to = random.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 | 5 if !self.dictionary.is_empty() => {
                let word = &self.dictionary[random.below(self.dictionary.len())];
                input.splice(at..at, word.iter().copied());
            }
            6 => {
                let other = &self.corpus[random.below(self.corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 => {
                // Whole lines are swapped: files are made of them.
                let mut lines: Vec<Vec<u8>> =
                    input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let (first, second) = (random.below(lines.len()), random.below(lines.len()));
                lines.swap(first, second);
                *input = lines.join(&b'\n');
            }
            8 if at < input.len() => input[at] = BYTES[random.below(BYTES.len())],
            _ if at < input.len() => input[at] = u8::try_from(random.below(256)).expect("below 256"),
            _ => input.push(BYTES[random.below(BYTES.len())]),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The generator `SplitMix64`: small, seeded, the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Returns a number below `limit`; 0 when `limit` is 0.
    fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).expect("below a usize")
    }
}
