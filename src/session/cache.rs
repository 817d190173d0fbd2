//! A cache bounded by bytes: what was used longest ago goes first.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, with the bytes that each takes. The values that were used last stay, however large they are.
pub struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    bytes: usize,
    budget: usize,
    least: usize,
    clock: u64,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// Keeps at most `budget` bytes, and the `least` values that were used last.
    pub fn new(budget: usize, least: usize) -> Self {
        Self { entries: HashMap::new(), bytes: 0, budget, least, clock: 0 }
    }

    /// The value of `key`, which thereby becomes the most recent.
    pub fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    /// Whether `key` is there; its age stays.
    #[cfg(test)]
    fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Keeps `value`, which takes `bytes`, and lets go of the oldest until the budget holds.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.clock += 1;
        self.bytes += bytes;
        if let Some(former) = self.entries.insert(key, Entry { value, bytes, used: self.clock }) {
            self.bytes -= former.bytes;
        }
        while self.bytes > self.budget && self.entries.len() > self.least {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone())
            else {
                return;
            };
            if let Some(entry) = self.entries.remove(&oldest) {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(30, 1);
        cache.insert("a", 1, 10);
        cache.insert("b", 2, 10);
        cache.insert("c", 3, 10);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.insert("d", 4, 10);
        assert!(!cache.contains(&"b"), "b was used longest ago");
        assert!(cache.contains(&"a") && cache.contains(&"c") && cache.contains(&"d"));
    }

    #[test]
    fn the_last_value_stays_even_beyond_the_budget() {
        let mut cache = Cache::new(30, 1);
        cache.insert("small", 1, 10);
        cache.insert("large", 2, 1000);
        assert_eq!((cache.get(&"small"), cache.get(&"large")), (None, Some(2)));
        cache.insert("next", 3, 10);
        assert_eq!((cache.get(&"large"), cache.get(&"next")), (None, Some(3)));
    }

    #[test]
    fn so_many_stay_however_large_they_are() {
        let mut cache = Cache::new(30, 3);
        for (value, key) in ["shown", "next", "before", "after next"].into_iter().enumerate() {
            cache.insert(key, value, 1000);
        }
        assert_eq!(
            ["shown", "next", "before", "after next"].map(|key| cache.contains(&key)),
            [false, true, true, true]
        );
    }

    #[test]
    fn replacing_a_value_replaces_its_bytes() {
        let mut cache = Cache::new(30, 1);
        for round in 0..100 {
            cache.insert("a", round, 20);
        }
        cache.insert("b", 0, 10);
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (Some(99), Some(0)));
        cache.clear();
        assert_eq!(cache.get(&"a"), None);
    }
}
