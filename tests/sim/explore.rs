//! Every interleaving of a model, the shortest first: so the first violation that is found has the shortest sequence
//! that leads to it.
//!
//! Owns: the search. Never: knows what a model is about.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// What can be explored.
pub trait Model {
    /// Where it is.
    type World: Clone + Eq + Hash;

    /// Where it begins.
    fn begin(&self) -> Self::World;

    /// What may happen next, each with where it leads. An error: something that must be true is not.
    fn next(&self, world: &Self::World) -> Vec<(&'static str, Result<Self::World, String>)>;
}

/// What was explored.
#[derive(Debug, Clone)]
pub struct Explored {
    /// Different worlds.
    pub worlds: usize,
    /// Steps from one to another.
    pub steps: usize,
    /// Events of the longest of the shortest ways.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether every world within the budgets was seen.
    pub whole: bool,
    /// What is not true, and the shortest sequence that leads there.
    pub violation: Option<(String, Vec<&'static str>)>,
}

/// Explores a model, up to so many worlds.
pub fn explore<M: Model>(model: &M, most: usize) -> Explored {
    let begun = Instant::now();
    let first = model.begin();
    let mut known: HashMap<M::World, usize> = HashMap::from([(first.clone(), 0)]);
    // The one before, what happened, the world until it was looked at, and how far it is from the beginning.
    let mut worlds = vec![(0_usize, "", Some(first), 0_usize)];
    let (mut at, mut steps) = (0, 0);
    let mut violation = None;
    while at < worlds.len() && worlds.len() < most && violation.is_none() {
        let depth = worlds[at].3;
        let Some(world) = worlds[at].2.take() else { break };
        for (what, led) in model.next(&world) {
            steps += 1;
            match led {
                Ok(next) => {
                    let number = worlds.len();
                    if let std::collections::hash_map::Entry::Vacant(new) = known.entry(next.clone()) {
                        new.insert(number);
                        worlds.push((at, what, Some(next), depth + 1));
                    }
                }
                Err(why) => {
                    let mut way = vec![what];
                    let mut back = at;
                    while back != 0 {
                        way.push(worlds[back].1);
                        back = worlds[back].0;
                    }
                    way.reverse();
                    violation = Some((why, way));
                    break;
                }
            }
        }
        at += 1;
    }
    let depth = worlds.last().map_or(0, |last| last.3);
    let whole = at == worlds.len();
    Explored { worlds: worlds.len(), steps, depth, time: begun.elapsed(), whole, violation }
}

impl Explored {
    /// In a line for people; the sequence below it, if something is not true.
    pub fn say(&self, what: &str) -> String {
        let bound = if self.whole { "all of them" } else { "up to a bound" };
        let mut text = format!(
            "{what}: {} states ({bound}), {} steps, depth {}, {:.1} s, {} violations",
            self.worlds,
            self.steps,
            self.depth,
            self.time.as_secs_f64(),
            usize::from(self.violation.is_some())
        );
        if let Some((why, way)) = &self.violation {
            text.push_str(&format!("\n{why}; the shortest way there:\n  {}", way.join("\n  ")));
        }
        text
    }
}
