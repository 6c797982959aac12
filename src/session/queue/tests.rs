//! Queues by example, and against a model.

use proptest::prelude::*;

use super::*;

fn filled(capacity: usize, messages: u64) -> Queue {
    let mut queue = Queue::new(capacity);
    for n in 1..=messages {
        queue.push(LogLevel::Info, n.to_string().into());
    }
    queue
}

fn drain(queue: &mut Queue, stream: u32, mut position: u64) -> Vec<String> {
    std::iter::from_fn(|| {
        let delivery = queue.next(stream, position, true, LogLevel::Info)?;
        position = delivery.position;
        Some(delivery.json.into())
    })
    .collect()
}

#[test]
fn messages_come_in_order_and_once() {
    let mut queue = filled(10, 3);
    assert_eq!(drain(&mut queue, 1, 0), ["1", "2", "3"]);
    assert_eq!((queue.pending(), queue.held()), (0, 3));
    assert!(drain(&mut queue, 1, 3).is_empty());
    let position = queue.start();
    assert!(drain(&mut queue, 2, position).is_empty());
}

#[test]
fn a_stream_that_resumes_gets_what_it_had_and_only_that() {
    let mut queue = filled(10, 2);
    assert_eq!(drain(&mut queue, 1, 0), ["1", "2"]);
    queue.push(LogLevel::Info, "3".into());
    assert_eq!(drain(&mut queue, 2, 2), ["3"]);
    queue.push(LogLevel::Info, "4".into());
    assert_eq!(drain(&mut queue, 1, 1), ["2", "4"], "3 went to the other stream");
}

#[test]
fn a_full_queue_drops_the_oldest_and_says_so_before_the_next() {
    let mut queue = filled(3, 5);
    assert_eq!((queue.pending(), queue.dropped()), (3, 2));
    let got = drain(&mut queue, 1, 0);
    assert!(got[0].contains("\"dropped\":2") && got[0].contains("2 messages were lost"), "{}", got[0]);
    assert_eq!(got[1..], ["3", "4", "5"]);
    queue.push(LogLevel::Info, "6".into());
    assert_eq!(drain(&mut queue, 1, 5), ["6"], "it is said once, and a delivered message is no loss");
    assert_eq!(queue.dropped(), 2);
}

#[test]
fn what_was_pushed_out_behind_a_client_is_told_when_it_resumes_and_again_if_that_is_lost() {
    let mut queue = filled(5, 5);
    assert_eq!(drain(&mut queue, 1, 0).len(), 5);
    for n in 6..=8 {
        queue.push(LogLevel::Info, n.to_string().into());
    }
    // 1 to 3 are gone, of which the client has one.
    for _ in 0..2 {
        let warning = queue.next(1, 1, true, LogLevel::Info).unwrap();
        assert!(warning.json.contains("2 messages were lost"), "{}", warning.json);
        assert_eq!(warning.position, 3);
    }
    assert_eq!(drain(&mut queue, 1, 3), ["4", "5", "6", "7", "8"]);
    assert_eq!(queue.losses.as_ref().unwrap().gap(1, 3), None, "who has them is told nothing");
    assert_eq!(queue.losses.as_ref().unwrap().gap(2, 0), None, "nor is another stream");
}

#[test]
fn the_warning_of_an_overflow_outlives_its_connection() {
    let mut queue = filled(3, 5);
    let first = queue.next(1, 0, true, LogLevel::Info).unwrap();
    assert!(first.json.contains("2 messages were lost"), "{}", first.json);
    // The connection broke with it: the client resumes from before.
    let again = drain(&mut queue, 1, 0);
    assert!(again[0].contains("2 messages were lost"), "{}", again[0]);
    assert_eq!(again[1..], ["3", "4", "5"]);
}

#[test]
fn what_a_stream_took_with_it_is_told_to_who_comes_without_an_id_and_only_once() {
    let mut queue = filled(10, 2).tagged(0xa11c_e000);
    let (stream, position) = queue.new_stream();
    assert_eq!(drain(&mut queue, stream, position), ["1", "2"]);
    queue.note_cut(stream);
    let (next, position) = queue.new_stream();
    let told = drain(&mut queue, next, position);
    // Its position is that of the stream: it is asked for once more from there.
    assert!(told[0].contains("2 messages were sent") && told[0].contains("a11ce000-1-0"), "{told:?}");
    assert_eq!(told.len(), 1);
    assert_eq!(drain(&mut queue, stream, 0), ["1", "2"], "there they are");
}

#[test]
fn what_is_pending_below_a_raised_level_is_forgotten() {
    let mut queue = filled(10, 2);
    queue.push(LogLevel::Error, "bad".into());
    queue.forget_below(LogLevel::Error);
    assert_eq!(queue.pending(), 1);
    assert_eq!(drain(&mut queue, 1, 0), ["bad"]);
}

/// The queue told as simply as possible: everything that ever came, and where it went.
#[derive(Default)]
struct Model {
    messages: Vec<(u64, u32)>,
    gone: Vec<(u64, u32)>,
    dropped: u64,
    untold: u64,
}

impl Model {
    /// Runs of messages that are gone and went to one stream.
    fn runs(&self) -> usize {
        self.gone.chunk_by(|a, b| a.1 == b.1).filter(|run| run[0].1 != 0).count()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push,
    Take(u32),
    Resume(u32, u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Push),
        2 => (1u32..4).prop_map(Op::Take),
        1 => (1u32..4, 0u64..40).prop_map(|(stream, after)| Op::Resume(stream, after)),
    ]
}

proptest! {
    #[test]
    fn the_queue_behaves_as_its_model(capacity in 1usize..8, ops in prop::collection::vec(op(), 1..80)) {
        let mut queue = Queue::new(capacity);
        let mut model = Model::default();
        let mut next = 0u64;
        for op in ops {
            match op {
                Op::Push => {
                    next += 1;
                    queue.push(LogLevel::Info, next.to_string().into());
                    model.messages.push((next, 0));
                    if model.messages.len() > capacity {
                        let (seq, stream) = model.messages.remove(0);
                        model.gone.push((seq, stream));
                        if stream == 0 {
                            model.dropped += 1;
                            model.untold += 1;
                        }
                    }
                }
                Op::Take(stream) => {
                    let position = queue.start();
                    let got = queue.next(stream, position, true, LogLevel::Info);
                    if std::mem::take(&mut model.untold) > 0 {
                        prop_assert!(got.unwrap().json.contains("lost"));
                        model.gone.iter_mut().filter(|(_, went)| *went == 0).for_each(|(_, went)| *went = stream);
                    } else if let Some(message) = model.messages.iter_mut().find(|(_, went)| *went == 0) {
                        message.1 = stream;
                        prop_assert_eq!(String::from(got.unwrap().json), message.0.to_string());
                    } else {
                        prop_assert_eq!(got, None);
                    }
                }
                Op::Resume(stream, after) => {
                    let mut position = after;
                    let mut got = Vec::new();
                    let lost = model.gone.iter().filter(|(seq, went)| *seq > after && *went == stream).count();
                    if model.runs() > losses::MAX_RUNS {
                        // The oldest are forgotten.
                        continue;
                    }
                    if lost > 0 {
                        let warning = queue.next(stream, position, false, LogLevel::Info).unwrap();
                        prop_assert!(warning.json.contains(&format!("\"dropped\":{lost}")), "{}", warning.json);
                        position = warning.position;
                    }
                    while let Some(delivery) = queue.next(stream, position, false, LogLevel::Info) {
                        position = delivery.position;
                        got.push(delivery.position);
                    }
                    let expected: Vec<u64> = model
                        .messages
                        .iter()
                        .filter(|(seq, went)| *seq > after && *went == stream)
                        .map(|(seq, _)| *seq)
                        .collect();
                    prop_assert_eq!(got, expected);
                }
            }
            prop_assert_eq!(queue.pending(), model.messages.iter().filter(|(_, went)| *went == 0).count());
            prop_assert_eq!(queue.held(), model.messages.len());
            prop_assert_eq!(queue.dropped(), model.dropped);
            prop_assert!(queue.held() <= capacity);
            let text: usize = model.messages.iter().map(|(seq, _)| seq.to_string().len()).sum();
            prop_assert_eq!(queue.text_bytes, text);
        }
    }
}
