use super::*;

const PATIENCE: Duration = Duration::from_millis(700);

/// `a` is at the host `a`, and so on.
fn at(host: &str) -> Address {
    Address { host: host.into(), port: 1 }
}

fn panel(hosts: &str) -> Panel {
    Panel::new(&hosts.split(' ').map(at).collect::<Vec<_>>())
}

/// Of the sentinel, whose id is that of its host. `peers`: hosts.
fn naming(sentinel: &str, primary: &str, peers: &str) -> Report {
    let (id, peers) = (Some(id_of(sentinel)), peers_at(peers));
    Report { said: Said::Primary(at(primary)), id, peers, replicas: Vec::new() }
}

fn id_of(host: &str) -> String {
    format!("id of {host}")
}

fn peers_at(hosts: &str) -> Vec<Peer> {
    hosts.split_whitespace().map(|host| Peer { address: at(host), id: id_of(host) }).collect()
}

fn saying(said: Said) -> Report {
    Report { said, id: None, peers: Vec::new(), replicas: Vec::new() }
}

fn refused(message: &str) -> ConnectError {
    ConnectError::Passing(Cause::new("ECONNREFUSED", message))
}

impl Panel {
    /// Each sentinel names a primary, as in `a:p`, in answer to a question. The peers that each tells are these.
    fn hear(&mut self, round: u64, votes: &str, peers: &str) {
        for vote in votes.split(' ') {
            let (sentinel, primary) = vote.split_once(':').unwrap();
            let others: Vec<_> = peers.split_whitespace().filter(|peer| *peer != sentinel).collect();
            self.record(&at(sentinel), round, naming(sentinel, primary, &others.join(" ")));
        }
    }

    fn lose(&mut self, round: u64, sentinel: &str) {
        self.record(&at(sentinel), round, saying(Said::Away(refused("refused"))));
    }

    fn seated(&self) -> Vec<&str> {
        self.addresses().map(|address| &*address.host).collect()
    }
}

#[test]
fn what_more_than_half_name_is_known_before_all_have_answered() {
    let mut panel = panel("a b c");
    panel.hear(1, "a:p", "");
    assert_eq!(panel.agreed(1), None);
    panel.hear(1, "b:p", "");
    assert_eq!(panel.agreed(1), Some(at("p")));
    assert!(!panel.is_settled(1));
    // What was said in answer to an older question counts no more.
    assert_eq!(panel.agreed(2), None);
    assert_eq!(panel.named(2), []);
}

#[test]
fn what_most_name_comes_first_and_else_the_order_of_the_options_counts() {
    let mut panel = panel("a b c d");
    panel.hear(1, "d:s a:p b:q c:q", "");
    assert_eq!(panel.named(1), [(at("q"), 2), (at("p"), 1), (at("s"), 1)]);
    assert_eq!(panel.leading(), Some(at("q")));
    assert!(panel.is_settled(1));
    assert_eq!(panel.agreed(1), None);
}

#[test]
fn one_that_lies_brings_about_no_verdict() {
    let mut panel = panel("a b liar");
    panel.hear(1, "a:p b:p liar:p", "");
    panel.hear(2, "liar:q", "");
    assert_eq!(panel.verdict(), Some(at("p")));
    // Not even when it is the only one that still answers.
    panel.lose(3, "a");
    panel.lose(3, "b");
    assert_eq!(panel.verdict(), None);
    assert_eq!(panel.leading(), Some(at("q")));
}

#[test]
fn more_than_half_of_those_that_have_ever_answered_bring_about_a_verdict() {
    let mut panel = panel("a b c");
    // The third was never there.
    panel.hear(1, "a:p b:p", "");
    panel.hear(2, "a:q", "");
    assert_eq!(panel.verdict(), None);
    panel.hear(2, "b:q", "");
    assert_eq!(panel.verdict(), Some(at("q")));
    // One that does not know the name any more is none of them.
    panel.record(&at("a"), 3, saying(Said::UnknownName));
    assert_eq!(panel.verdict(), Some(at("q")));
}

#[test]
fn others_are_learned_of_from_most_of_those_that_are_configured() {
    let mut panel = panel("a b");
    panel.hear(1, "a:p", "a c d");
    assert_eq!(panel.seated(), ["a", "b", "c", "d"]);
    // b answers and does not know d.
    panel.hear(1, "b:p", "a c");
    assert_eq!(panel.seated(), ["a", "b", "c"]);
    // They count.
    panel.hear(2, "a:q", "a b c");
    panel.hear(2, "b:q", "a b c");
    panel.hear(2, "c:p", "");
    assert_eq!(panel.verdict(), Some(at("q")));
    panel.hear(3, "b:p", "a b c");
    assert_eq!(panel.verdict(), Some(at("p")));
    // While nobody answers, nothing is forgotten.
    panel.lose(4, "a");
    panel.lose(4, "b");
    assert_eq!(panel.seated(), ["a", "b", "c"]);
}

#[test]
fn one_of_another_group_brings_in_nobody_of_it() {
    let mut panel = panel("foreign a b");
    panel.hear(1, "a:p b:p", "a b c");
    panel.hear(1, "foreign:q", "foreign2 foreign3 foreign4");
    assert_eq!(panel.seated(), ["foreign", "a", "b", "c"]);
    assert_eq!(panel.verdict(), Some(at("p")));
}

#[test]
fn a_replica_is_one_that_most_sentinels_know() {
    let mut panel = panel("a b liar");
    let knowing =
        |sentinel, replicas: &[Address]| Report { replicas: replicas.into(), ..naming(sentinel, "p", "") };
    assert!(!panel.has_replica(&at("r")));
    panel.record(&at("a"), 1, knowing("a", &[at("r")]));
    panel.record(&at("b"), 1, knowing("b", &[at("r")]));
    panel.record(&at("liar"), 1, knowing("liar", &[at("q")]));
    assert!(panel.has_replica(&at("r")));
    assert!(!panel.has_replica(&at("q")));
    panel.lose(2, "a");
    assert!(!panel.has_replica(&at("r")));
}

#[test]
fn no_more_are_learned_of_than_there_may_be() {
    let mut panel = panel("liar");
    let peers: Vec<_> = (0..1000).map(|number| format!("peer{number}")).collect();
    panel.hear(1, "liar:p", &peers.join(" "));
    assert_eq!(panel.addresses().count(), MOST);
}

#[test]
fn a_sentinel_with_two_addresses_counts_once() {
    let mut both = panel("name a");
    both.record(&at("name"), 1, naming("a", "p", "b"));
    both.record(&at("a"), 1, naming("a", "p", "b"));
    assert_eq!(both.named(1), [(at("p"), 1)]);
    // a is not learned of by its other address either.
    let mut panel = panel("name b");
    panel.record(&at("name"), 1, naming("a", "p", "b"));
    panel.record(&at("b"), 1, naming("b", "p", "a"));
    assert_eq!(panel.seated(), ["name", "b"]);
}

#[test]
fn a_list_that_names_a_sentinel_twice_names_it_once() {
    assert_eq!(panel("a b a").seated(), ["a", "b"]);
}

#[test]
fn a_failure_says_what_is_wrong_with_each() {
    let failure = |panel: &Panel| panel.failure("mine", 1, PATIENCE);
    let mut none = panel("a b");
    none.record(&at("a"), 1, saying(Said::Away(refused("refused"))));
    let error = failure(&none);
    assert!(matches!(error, ConnectError::Passing(_)));
    assert_eq!(&*error.cause().code, "ECONNREFUSED");
    assert_eq!(
        &*error.cause().message,
        "no sentinel of 2 could be reached: a:1: refused; b:1: no answer within 700 ms"
    );

    let mut partly = none;
    partly.record(&at("b"), 1, saying(Said::UnknownName));
    let error = failure(&partly);
    assert!(matches!(error, ConnectError::Passing(_)));
    assert_eq!(&*error.cause().code, UNKNOWN_NAME);
    assert_eq!(
        &*error.cause().message,
        "the sentinels know no 'mine'; others could not be reached: a:1: refused"
    );

    let mut unknown = panel("a");
    unknown.record(&at("a"), 1, saying(Said::UnknownName));
    let ConnectError::Refused(refusal) = failure(&unknown) else { panic!("not for good") };
    assert_eq!(refusal.code, UNKNOWN_NAME);
    assert!(!refusal.is_passing);

    let silent = failure(&panel("a b c d e f g"));
    assert_eq!(&*silent.cause().code, "ETIMEDOUT");
    assert!(silent.cause().message.ends_with("e:1: no answer within 700 ms; …"));
}

#[test]
fn what_trying_again_will_not_mend_is_told_first() {
    let tls = ConnectError::Tls(Cause::new("ERR_TLS", "not trusted"));
    let mut panel = panel("a b c");
    panel.record(&at("a"), 1, saying(Said::Away(refused("refused"))));
    panel.record(&at("b"), 1, saying(Said::Away(tls)));
    panel.record(&at("c"), 1, saying(Said::Away(refused("refused"))));
    assert!(matches!(panel.failure("mine", 1, PATIENCE), ConnectError::Tls(_)));
}
