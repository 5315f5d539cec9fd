//! The table of what is under way.
//!
//! Owns: who registers and who leaves it. Never: holds its lock across a wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    Entry, Object,
    current::Current,
    kept::Kept,
    words::{is_patient, waits_for},
};
use crate::{clock::now_nanos, ids, limits::STUCK};

/// What an operation is about, as its beginner knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// An object's id, or the beginning of one.
    Id(String),
    /// An object that may have no id yet: its label.
    Label(String),
    /// A container that may have no id yet: the beginning of its pod's id, and its name.
    In(String, String),
    /// Nothing in particular.
    Nothing,
}

/// A step that is under way.
#[derive(Debug, Clone)]
pub struct StepNow {
    number: u64,
    /// Its name; empty: between two steps.
    pub name: &'static str,
    /// For how long.
    pub since: Instant,
    at: i64,
    waits: Option<String>,
}

#[derive(Debug)]
struct Running {
    about: About,
    what: &'static str,
    /// A caller waits; else it is a procedure.
    is_call: bool,
    since: Instant,
    at: i64,
    /// How long it may well take: a grace period, a probe's own timeout.
    allowed: Duration,
    steps: Vec<StepNow>,
}

/// An operation as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// Id of the object; empty: it has none.
    pub id: String,
    /// The object in words.
    pub label: String,
    /// What is done: `start`, or a call's name.
    pub what: &'static str,
    /// A caller waits; else it is a procedure.
    pub is_call: bool,
    /// For how long.
    pub age: Duration,
    /// The step; empty: none.
    pub step: &'static str,
    /// For how long it is in this step.
    pub step_age: Duration,
    /// What this step waits for; empty: not known.
    pub waits: String,
    /// Longer than it should.
    pub is_stuck: bool,
}

#[derive(Debug, Default)]
struct Tables {
    next: u64,
    running: BTreeMap<u64, Running>,
    kept: Kept,
}

/// The table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operations {
    /// Protects the tables alone; sections of a few lines.
    tables: Arc<Mutex<Tables>>,
    /// When this daemon began to watch, in nanoseconds since the epoch.
    pub since: i64,
}

impl Default for Operations {
    fn default() -> Self {
        Self { tables: Arc::default(), since: now_nanos() }
    }
}

/// Takes an operation out when its future ends or is dropped.
#[derive(Debug)]
struct Entered(Operations, u64);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

impl Operations {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Each statement under this lock leaves the tables sound.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a pod known by its namespace and name.
    pub fn introduce_pod(&self, id: &str, namespace: &str, name: &str) {
        let names = vec![name.to_owned(), format!("{namespace}/{name}")];
        let object = Object { label: format!("pod {namespace}/{name}"), names, ..Object::default() };
        self.tables().kept.introduce(id, object);
    }

    /// Makes a container known by its name and its pod's id.
    pub fn introduce_container(&self, id: &str, name: &str, pod: &str) {
        let mut tables = self.tables();
        let of = tables.kept.get(pod).cloned().unwrap_or_else(|| Object::unknown_pod(pod));
        let within = of.names.iter().map(|pod| format!("{pod}/{name}"));
        let names = std::iter::once(name.to_owned()).chain(within).collect();
        let label = format!("container {name} of {}", of.label);
        let object = Object { label, pod: pod.to_owned(), names, ..Object::default() };
        tables.kept.introduce(id, object);
    }

    /// An object is gone.
    pub fn forget(&self, id: &str) {
        self.tables().kept.forget(id);
    }

    /// The object in words, for messages.
    pub fn label(&self, id: &str) -> String {
        self.tables().kept.get(id).map_or_else(|| id.to_owned(), |object| object.label.clone())
    }

    /// All that is known of an object.
    pub fn object(&self, id: &str) -> Option<Object> {
        self.tables().kept.get(id).cloned()
    }

    /// All ids that are known, with their objects; those that have gone lately too.
    pub fn objects(&self) -> Vec<(String, Object)> {
        self.tables().kept.all().map(|(id, object)| (id.clone(), object.clone())).collect()
    }

    /// Something that happened to an object.
    pub fn note(&self, id: &str, what: impl Into<String>) {
        let entry = Entry { at: now_nanos(), operation: "", step: what.into(), took: Duration::ZERO };
        self.tables().kept.add(id, entry);
    }

    /// Runs a procedure of an object; it is in the table until it ends or is dropped.
    pub fn run<F: Future>(
        &self,
        id: &str,
        what: &'static str,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.enrol(About::Id(id.to_owned()), what, false, Duration::ZERO).run(work)
    }

    /// As [`Self::run`], of an image.
    pub fn run_image<F: Future>(
        &self,
        name: &str,
        what: &'static str,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.enrol(About::Label(image(name)), what, false, Duration::ZERO).run(work)
    }

    /// As [`Self::run`], of what may well take so long.
    pub fn run_patiently<F: Future>(
        &self,
        id: &str,
        what: &'static str,
        allowed: Duration,
        work: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        self.enrol(About::Id(id.to_owned()), what, false, allowed).run(work)
    }

    /// Runs a call until its bound. `Err`: the sentence about where it was then; its future is dropped, the work of its
    /// object's owner goes on.
    pub async fn call<F: Future>(
        &self,
        name: &'static str,
        about: About,
        (bound, allowed): (Duration, Duration),
        work: F,
    ) -> Result<F::Output, String> {
        let entered = self.enrol(about, name, true, allowed);
        let number = entered.0.1;
        // It lives until the sentence is made: its own step would be left before.
        let mut work = std::pin::pin!(entered.scope(work));
        match tokio::time::timeout(bound, work.as_mut()).await {
            Ok(done) => Ok(done),
            Err(_) => Err(self.still(number, bound)),
        }
    }

    fn enrol(&self, about: About, what: &'static str, is_call: bool, allowed: Duration) -> Enrolled {
        let mut tables = self.tables();
        tables.next += 1;
        let number = tables.next;
        let (since, at) = (Instant::now(), now_nanos());
        let running = Running { about, what, is_call, since, at, allowed, steps: Vec::new() };
        tables.running.insert(number, running);
        Enrolled(Entered(self.clone(), number))
    }

    fn end(&self, number: u64) {
        let mut tables = self.tables();
        let Some(ended) = tables.running.remove(&number) else { return };
        // Probes come every second: their steps would push out everything else.
        if let About::Id(id) = &ended.about
            && !ended.is_call
        {
            let took = ended.since.elapsed();
            let entry = Entry { at: ended.at, operation: ended.what, step: String::new(), took };
            tables.kept.add(id, entry);
        }
    }

    pub(super) fn enter(&self, number: u64, name: &'static str) -> u64 {
        let mut tables = self.tables();
        tables.next += 1;
        let place = tables.next;
        if let Some(running) = tables.running.get_mut(&number) {
            let (since, at) = (Instant::now(), now_nanos());
            running.steps.push(StepNow { number: place, name, since, at, waits: None });
        }
        place
    }

    pub(super) fn leave(&self, number: u64, place: u64) {
        let mut tables = self.tables();
        let Some(running) = tables.running.get_mut(&number) else { return };
        let Some(at) = running.steps.iter().position(|step| step.number == place) else { return };
        let step = running.steps.remove(at);
        if let About::Id(id) = &running.about
            && !running.is_call
        {
            let (id, operation) = (id.clone(), running.what);
            let entry =
                Entry { at: step.at, operation, step: step.name.to_owned(), took: step.since.elapsed() };
            tables.kept.add(&id, entry);
        }
    }

    /// As [`Self::leave`], without a trace.
    pub(super) fn withdraw(&self, number: u64, place: u64) {
        if let Some(running) = self.tables().running.get_mut(&number) {
            running.steps.retain(|step| step.number != place);
        }
    }

    pub(super) fn waits(&self, number: u64, what: Option<String>) {
        if let Some(step) = self.tables().running.get_mut(&number).and_then(|r| r.steps.last_mut()) {
            step.waits = what;
        }
    }

    /// The sentence about a deadline that has passed.
    pub(super) fn still(&self, number: u64, after: Duration) -> String {
        let tables = self.tables();
        let Some(running) = tables.running.get(&number) else { return String::new() };
        let own = tables.now(running);
        // A call waits for the procedure of its object.
        let cause = if own.step.is_empty() { tables.cause(running).map(|r| tables.now(r)) } else { None };
        let now = cause.as_ref().unwrap_or(&own);
        let label = if now.label.is_empty() { String::new() } else { format!(" ({})", now.label) };
        let seconds = after.as_secs_f64().round();
        let place = match (now.step, now.is_call) {
            ("", true) => "waiting for its turn".to_owned(),
            ("", false) => format!("between two steps of {}", now.what),
            (step, _) => format!("in step {step}"),
        };
        let waits =
            if now.waits.is_empty() { String::new() } else { format!("; it waits for {}", now.waits) };
        format!("{} was still {place}{label} after {seconds} s{waits}", own.what)
    }

    /// All of an object, and of a pod's containers.
    pub fn of(&self, id: &str) -> Vec<Now> {
        let tables = self.tables();
        let about = About::Id(id.to_owned());
        tables.running.values().filter(|r| tables.concerns(r, &about)).map(|r| tables.now(r)).collect()
    }

    /// How many procedures and calls are under way.
    pub fn under_way(&self) -> usize {
        self.tables().running.len()
    }

    /// All that takes longer than it should, the oldest first.
    pub fn stuck(&self) -> Vec<Now> {
        let tables = self.tables();
        let all = tables.running.values().map(|running| tables.now(running));
        all.filter(|now| now.is_stuck).collect()
    }
}

/// An operation that is in the table and not yet begun.
#[derive(Debug)]
struct Enrolled(Entered);

impl Enrolled {
    async fn scope<F: Future>(&self, work: F) -> F::Output {
        let Entered(operations, number) = &self.0;
        Current { operations: operations.clone(), number: *number }.scope(work).await
    }

    async fn run<F: Future>(self, work: F) -> F::Output {
        self.scope(work).await
    }
}

/// An image in words.
fn image(name: &str) -> String {
    format!("image {name}")
}

impl About {
    /// The image of this name.
    pub fn image(name: &str) -> Self {
        Self::Label(image(name))
    }

    /// The pod of this name.
    pub fn pod(namespace: &str, name: &str) -> Self {
        Self::Label(format!("pod {namespace}/{name}"))
    }
}

impl Tables {
    /// The object's id and words.
    fn object(&self, about: &About) -> (String, String) {
        let full = |wanted: &str| {
            if self.kept.get(wanted).is_some() {
                return wanted.to_owned();
            }
            let known = self.kept.all().map(|(id, _)| id.as_str());
            ids::resolve(known, wanted).ok().flatten().unwrap_or(wanted).to_owned()
        };
        match about {
            About::Id(wanted) => {
                let id = full(wanted);
                let label = self.kept.get(&id).map_or_else(|| id.clone(), |object| object.label.clone());
                (id, label)
            }
            About::Label(label) => (String::new(), label.clone()),
            About::In(pod, name) => {
                let pod = full(pod);
                let of = self.kept.get(&pod).map_or_else(|| format!("pod {pod}"), |pod| pod.label.clone());
                (String::new(), format!("container {name} of {of}"))
            }
            About::Nothing => (String::new(), String::new()),
        }
    }

    fn now(&self, running: &Running) -> Now {
        let (id, label) = self.object(&running.about);
        let step = running.steps.last();
        let name = step.map_or("", |step| step.name);
        let waits = step.and_then(|step| step.waits.clone()).unwrap_or_else(|| waits_for(name).to_owned());
        let age = running.since.elapsed();
        let step_age = step.map_or(age, |step| step.since.elapsed());
        let is_stuck = step_age > running.allowed.saturating_add(STUCK) && !is_patient(name);
        Now {
            id,
            label,
            what: running.what,
            is_call: running.is_call,
            age,
            step: name,
            step_age,
            waits,
            is_stuck,
        }
    }

    /// Whether an operation is about this object, or about a container of this pod.
    fn concerns(&self, running: &Running, about: &About) -> bool {
        let (id, label) = self.object(&running.about);
        let (wanted, called) = self.object(about);
        let pod = self.kept.get(&id).map_or("", |object| object.pod.as_str());
        (!id.is_empty() && id == wanted)
            || (!label.is_empty() && label == called)
            || (!pod.is_empty() && pod == wanted)
    }

    /// The procedure that a call waits for: of the same object, the one that is longest in its step.
    fn cause(&self, call: &Running) -> Option<&Running> {
        let procedures = self.running.values().filter(|r| !r.is_call && self.concerns(r, &call.about));
        procedures.max_by_key(|running| self.now(running).step_age)
    }
}
