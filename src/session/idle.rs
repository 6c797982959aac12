//! The order in which sessions became idle: two lists through one slab, longest idle first.
//!
//! Every operation takes constant time, so that a sweep costs what it removes and the bound finds its longest-idle
//! session at once, however many sessions there are. A session is moved to the back when its last request ends. One that
//! has work again stays where it is; whoever finds it at the front takes it out, and it comes back when it is idle again.

use uuid::Uuid;

const NONE: u32 = u32::MAX;

/// A session's slot. Kept by the session, good for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// The two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Idle, nothing said yet.
    Fresh = 0,
    /// Idle for so long that the session was told it is about to expire.
    Warned = 1,
}

#[derive(Debug)]
struct Node {
    id: Uuid,
    previous: u32,
    next: u32,
    list: Option<List>,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

/// Both lists. See the module's documentation.
#[derive(Debug)]
pub struct IdleOrder {
    nodes: Vec<Node>,
    free: Vec<u32>,
    ends: [Ends; 2],
}

impl Default for IdleOrder {
    fn default() -> Self {
        let empty = Ends { first: NONE, last: NONE };
        Self { nodes: Vec::new(), free: Vec::new(), ends: [empty; 2] }
    }
}

impl IdleOrder {
    /// A slot for a session, in no list yet.
    pub fn add(&mut self, id: Uuid) -> Slot {
        let node = Node { id, previous: NONE, next: NONE, list: None };
        if let Some(free) = self.free.pop() {
            self.nodes[free as usize] = node;
            return Slot(free);
        }
        self.nodes.push(node);
        Slot(u32::try_from(self.nodes.len() - 1).unwrap_or(NONE))
    }

    /// Frees the slot.
    pub fn remove(&mut self, slot: Slot) {
        self.take_out(slot);
        self.free.push(slot.0);
    }

    /// Puts the session at the back of `list`: nobody has been idle for a shorter time.
    pub fn put_last(&mut self, slot: Slot, list: List) {
        self.take_out(slot);
        let last = self.ends[list as usize].last;
        let node = &mut self.nodes[slot.0 as usize];
        node.previous = last;
        node.list = Some(list);
        match last {
            NONE => self.ends[list as usize].first = slot.0,
            last => self.nodes[last as usize].next = slot.0,
        }
        self.ends[list as usize].last = slot.0;
    }

    /// Takes the session out of its list, if it is in one.
    pub fn take_out(&mut self, slot: Slot) {
        let node = &mut self.nodes[slot.0 as usize];
        let Some(list) = node.list.take() else { return };
        let (previous, next) = (node.previous, node.next);
        (node.previous, node.next) = (NONE, NONE);
        match previous {
            NONE => self.ends[list as usize].first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.ends[list as usize].last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
    }

    /// The session that has been longest in `list`.
    #[must_use]
    pub fn first(&self, list: List) -> Option<(Slot, Uuid)> {
        match self.ends[list as usize].first {
            NONE => None,
            first => Some((Slot(first), self.nodes[first as usize].id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order(idle: &mut IdleOrder, list: List) -> Vec<Uuid> {
        std::iter::from_fn(|| {
            let (slot, id) = idle.first(list)?;
            idle.take_out(slot);
            Some(id)
        })
        .collect()
    }

    proptest! {
        #[test]
        fn the_longest_idle_is_always_first(ops in prop::collection::vec((0u128..6, 0usize..4), 0..60)) {
            let mut idle = IdleOrder::default();
            let mut slots = std::collections::HashMap::new();
            let mut model: [Vec<Uuid>; 2] = Default::default();
            for (n, op) in ops {
                let id = Uuid::from_u128(n);
                let slot = *slots.entry(id).or_insert_with(|| idle.add(id));
                for list in &mut model {
                    list.retain(|other| *other != id);
                }
                match op {
                    0 => { idle.put_last(slot, List::Fresh); model[0].push(id); }
                    1 => { idle.put_last(slot, List::Warned); model[1].push(id); }
                    2 => idle.take_out(slot),
                    _ => { idle.remove(slot); slots.remove(&id); }
                }
                for (list, expected) in [List::Fresh, List::Warned].into_iter().zip(&model) {
                    prop_assert_eq!(idle.first(list).map(|(_, id)| id), expected.first().copied());
                }
            }
            prop_assert_eq!(order(&mut idle, List::Fresh), model[0].clone());
            prop_assert_eq!(order(&mut idle, List::Warned), model[1].clone());
        }
    }
}
