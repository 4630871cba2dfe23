internal import CLinux
internal import NetmapCore

/// Descriptors that have been sent to processes and that these have not received yet.
///
/// The kernel counts them by the user who sent them. Once a user has 2024 of them (`UNIX_INFLIGHT_SANE_USER` in
/// Linux's net/unix/garbage.c), its threads wait for the collection of Unix sockets that nobody can receive any more,
/// whenever one is under way as they send a socket; any user can have one begin. So who does not receive is sent no
/// more. Decision 65 says where the limits come from, and what they leave open.
struct UnreadFiles {
  /// Of one process's mail, unless the process opens a port; of all mail for which that limit holds.
  private static let mailMax = 64
  private static let allMailMax = 768
  /// Of the mail of a process that opens a port: it is to know its neighbours before it sends.
  private static let openingMax = 640
  private static let allOpeningMax = 1536
  /// How long a process that has opened a port counts as one that does, nanoseconds.
  private static let openingTime: UInt64 = 100_000_000
  /// Of answers to one process, before its next request is decided.
  private static let answersMax = 16
  /// Of answers to one stranger's processes, to those of all strangers, and to those of another user. With the mail
  /// of all processes these stay below what the kernel allows.
  private static let strangerMax = 128
  private static let strangersMax = 256
  private static let trustedMax = 192

  private struct Entry {
    let socket: PeerSocket
    let kind: Kind
    var count: Int
  }

  private enum Kind {
    case mail
    /// To whom; nil for one that is becoming a client. Whether that is a stranger.
    case answer(ClientTag?, isStrangers: Bool)
  }

  /// By socket.
  private var entries: [ObjectIdentifier: Entry] = [:]
  private var total = 0
  /// So many are let be before it is looked which have been received.
  private var lookAt = 32
  /// How long after something has been sent it is looked whether it has been received: a socket for an answer is
  /// closed then. Nanoseconds.
  private static let pause: UInt64 = 20_000_000
  /// When to look next, monotonic nanoseconds; nil if nothing has been sent since the last look.
  private(set) var nextLook: UInt64?

  /// - Parameters:
  ///   - count: Descriptors that have been sent.
  ///   - mailbox: On what; kept open until they have been received.
  mutating func noteMail(_ count: Int, on mailbox: PeerSocket) {
    note(count, on: mailbox, .mail)
  }

  /// - Parameters:
  ///   - count: Descriptors that have been sent.
  ///   - socket: On what; kept open until they have been received.
  ///   - client: To whom; nil for one that is becoming a client.
  ///   - isStrangers: Whether that is a stranger.
  mutating func noteAnswer(
    _ count: Int, on socket: PeerSocket, to client: ClientTag?, isStrangers: Bool
  ) {
    note(count, on: socket, .answer(client, isStrangers: isStrangers))
  }

  private mutating func note(_ count: Int, on socket: PeerSocket, _ kind: Kind) {
    guard count > 0 else { return }
    let key = ObjectIdentifier(socket)
    let before = entries[key]?.count ?? 0
    entries[key] = Entry(socket: socket, kind: kind, count: before + count)
    total += count
    nextLook = nextLook ?? monotonicNanoseconds() + Self.pause
    if total >= lookAt { look() }
  }

  /// Forgets what has been received, if it is time.
  mutating func lookIfDue() {
    if let nextLook, monotonicNanoseconds() >= nextLook { look() }
  }

  /// Forgets what has been received.
  private mutating func look() {
    look { _ in true }
    lookAt = max(32, total * 2)
    nextLook = nil
  }

  private mutating func look(where isLookedAt: (Entry) -> Bool) {
    for (key, entry) in entries where isLookedAt(entry) && !entry.socket.isUnread {
      total -= entry.count
      entries[key] = nil
    }
  }

  /// Whether a process may be sent more mail with descriptors.
  mutating func mayPost(on socket: PeerSocket, opened: UInt64) -> Bool {
    let key = ObjectIdentifier(socket)
    guard let entry = entries[key] else { return true }
    guard socket.isUnread else {
      total -= entry.count
      entries[key] = nil
      return true
    }
    if entry.count < Self.mailMax, total < Self.allMailMax { return true }
    return entry.count < Self.openingMax && total < Self.allOpeningMax
      && monotonicNanoseconds() &- opened < Self.openingTime
  }

  /// Whether another answer may be made for a process.
  mutating func mayAnswer(_ client: ClientTag, isStranger: Bool, user: UInt32) -> Bool {
    if total < Self.answersMax { return true }
    func isCounted(_ entry: Entry) -> Bool {
      if case .answer(client, _) = entry.kind { true } else { false }
    }
    if count(where: isCounted) >= Self.answersMax {
      look(where: isCounted)
      guard count(where: isCounted) < Self.answersMax else { return false }
    }
    return hasRoom(for: user, isStranger: isStranger)
  }

  /// - Throws: ``NetmapError`` `EMFILE` when this user may not be answered at once with descriptors now.
  mutating func check(_ user: UInt32, isStranger: Bool) throws(NetmapError) {
    guard !hasRoom(for: user, isStranger: isStranger) else { return }
    throw Self.refusal(of: user, isStranger: isStranger)
  }

  /// What a process is told whose user, or all strangers together, leave too many descriptors unread.
  static func refusal(of user: UInt32, isStranger: Bool) -> NetmapError {
    let who = isStranger ? "user \(user), or users with isolated ports together," : "user \(user)"
    return NetmapError(
      .tooManyFiles, "ask", "netmapd",
      reason: "processes of \(who) have not received the descriptors that netmapd sent them",
      remedy: "end those that do not receive them, or try again later")
  }

  private mutating func hasRoom(for user: UInt32, isStranger: Bool) -> Bool {
    // As with other quotas, root and the daemon's own user have what the host has.
    guard total >= Self.strangerMax, isStranger || user != 0 && user != DaemonUser.own else {
      return true
    }
    // Mail has limits of its own: who opens ports is not refused because of others that have not read theirs.
    func isCounted(_ entry: Entry) -> Bool {
      guard case .answer(_, isStrangers: isStranger) = entry.kind else { return false }
      return isStranger || entry.socket.user == user
    }
    func fits() -> Bool {
      let own = count { isCounted($0) && $0.socket.user == user }
      guard isStranger else { return own < Self.trustedMax }
      return own < Self.strangerMax && count(where: isCounted) < Self.strangersMax
    }
    if fits() { return true }
    look(where: isCounted)
    return fits()
  }

  private func count(where isCounted: (Entry) -> Bool) -> Int {
    entries.values.reduce(0) { isCounted($1) ? $0 + $1.count : $0 }
  }
}
