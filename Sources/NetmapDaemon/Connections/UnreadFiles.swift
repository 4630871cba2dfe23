internal import CLinux
internal import NetmapCore

/// Descriptors that the server has sent and the receiving processes have not received yet.
///
/// The kernel counts these descriptors by the user who sent them. Once a user has 2024 of them
/// (`UNIX_INFLIGHT_SANE_USER` in Linux's net/unix/garbage.c), a thread of that user that sends a
/// socket waits for any garbage collection of unreachable Unix sockets that is under way. Any user
/// can cause such a collection. So the server sends no more descriptors to a process that does not
/// receive them. Decision 65 says where the limits come from, and what they leave open.
struct UnreadFiles {
  /// A client with unread mail is sent more only while fewer than `mailMax` descriptors of its mail
  /// are unread, and fewer than `allMailMax` in total.
  private static let mailMax = 64
  private static let allMailMax = 768
  /// The same limits for a client that has just opened a port: it must know its neighbors before it
  /// sends packets.
  private static let openingMax = 640
  private static let allOpeningMax = 1024
  /// How long a client counts as having just opened a port, nanoseconds.
  private static let openingTime: UInt64 = 100_000_000
  /// The number of unread descriptors in answers to one client at which its next request must wait.
  private static let answersMax = 16
  /// The number of unread descriptors in answers to one untrusted user, to all untrusted users
  /// together, and to one trusted user, at which further answers must wait or are refused.
  ///
  /// With the limit of mail they stay below the kernel's limit: 1024 + 256 + 512 < 2024.
  private static let untrustedUserMax = 128
  private static let untrustedMax = 256
  private static let trustedMax = 512

  private struct Entry {
    let socket: PeerSocket
    let kind: Kind
    var count: Int
  }

  private enum Kind {
    case mail
    /// The client; nil for a process that is becoming one.
    ///
    /// `isUntrusted` says whether it is untrusted.
    case answer(ClientTag?, isUntrusted: Bool)
  }

  /// The entries by socket.
  private var entries: [ObjectIdentifier: Entry] = [:]
  private var total = 0
  /// The total at which the server checks which descriptors have been received.
  private var lookAt = 32
  /// How long after sending the server checks whether the descriptors have been received,
  /// nanoseconds.
  ///
  /// The sockets of received answers are closed then.
  private static let pause: UInt64 = 20_000_000
  /// When to check next, monotonic nanoseconds; nil if nothing has been sent since the last check.
  private(set) var nextLook: UInt64?

  /// - Parameters:
  ///   - count: The number of descriptors that have been sent.
  ///   - mailbox: The socket on which they were sent; kept open until they have been received.
  mutating func noteMail(_ count: Int, on mailbox: PeerSocket) {
    note(count, on: mailbox, .mail)
  }

  /// - Parameters:
  ///   - count: The number of descriptors that have been sent.
  ///   - socket: The socket on which they were sent; kept open until they have been received.
  ///   - client: The receiving client; nil for a process that is becoming one.
  ///   - isUntrusted: Whether the receiver is untrusted.
  mutating func noteAnswer(
    _ count: Int, on socket: PeerSocket, to client: ClientTag?, isUntrusted: Bool
  ) {
    note(count, on: socket, .answer(client, isUntrusted: isUntrusted))
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

  /// Drops the entries of received descriptors, if it is time.
  mutating func lookIfDue() {
    if let nextLook, monotonicNanoseconds() >= nextLook { look() }
  }

  /// Drops the entries of received descriptors.
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

  /// Whether the server may send a client more mail with descriptors.
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

  /// Whether the server may make another answer with descriptors for a client.
  mutating func mayAnswer(_ client: ClientTag, isUntrusted: Bool, user: UInt32) -> Bool {
    if total < Self.answersMax { return true }
    func isCounted(_ entry: Entry) -> Bool {
      if case .answer(client, _) = entry.kind { true } else { false }
    }
    if count(where: isCounted) >= Self.answersMax {
      look(where: isCounted)
      guard count(where: isCounted) < Self.answersMax else { return false }
    }
    return hasRoom(for: user, isUntrusted: isUntrusted)
  }

  /// - Throws: ``NetmapError`` `EMFILE` when this user may not be sent another answer with
  ///   descriptors now.
  mutating func check(_ user: UInt32, isUntrusted: Bool) throws(NetmapError) {
    guard !hasRoom(for: user, isUntrusted: isUntrusted) else { return }
    throw Self.refusal(of: user, isUntrusted: isUntrusted)
  }

  /// The error for a client whose user, or all untrusted users together, have too many descriptors
  /// unread.
  static func refusal(of user: UInt32, isUntrusted: Bool) -> NetmapError {
    let who = isUntrusted ? "user \(user), or users with isolated ports together," : "user \(user)"
    return NetmapError(
      .tooManyFiles, "ask", "netmapd",
      reason: "processes of \(who) have not received the descriptors that netmapd sent them",
      remedy: "end the processes that do not receive them, or try again later")
  }

  private mutating func hasRoom(for user: UInt32, isUntrusted: Bool) -> Bool {
    // As with other quotas, root and the daemon's own user have only the limits of the host.
    guard total >= Self.untrustedUserMax, isUntrusted || user != 0 && user != DaemonUser.own else {
      return true
    }
    // Mail does not count, as it has limits of its own: unread mail of other clients must not keep
    // a client from opening ports.
    func isCounted(_ entry: Entry) -> Bool {
      guard case .answer(_, isUntrusted: isUntrusted) = entry.kind else { return false }
      return isUntrusted || entry.socket.user == user
    }
    func fits() -> Bool {
      let own = count { isCounted($0) && $0.socket.user == user }
      guard isUntrusted else { return own < Self.trustedMax }
      return own < Self.untrustedUserMax && count(where: isCounted) < Self.untrustedMax
    }
    if fits() { return true }
    look(where: isCounted)
    return fits()
  }

  private func count(where isCounted: (Entry) -> Bool) -> Int {
    entries.values.reduce(0) { isCounted($1) ? $0 + $1.count : $0 }
  }
}
