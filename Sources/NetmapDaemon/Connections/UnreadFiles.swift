internal import CLinux
internal import NetmapCore

/// Descriptors that have been sent to processes and that these have not received yet.
///
/// The kernel counts them by the user who sent them. Once a user has 2024 of them (`UNIX_INFLIGHT_SANE_USER` in
/// Linux's net/unix/garbage.c), its threads wait for the collection of Unix sockets that nobody can receive any more,
/// whenever one is under way as they send a socket; any user can have one begin. So there are never as many of the
/// daemon's: who does not receive is sent no more. Before Linux 6.8 whoever sends anything waits for that.
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
  /// Of answers to one stranger's processes, and to those of all strangers.
  private static let strangerMax = 128
  private static let strangersMax = 512

  private struct Entry {
    let socket: PeerSocket
    let client: ClientTag?
    let isStrangers: Bool
    var count: Int
  }

  /// By socket.
  private var entries: [ObjectIdentifier: Entry] = [:]
  private(set) var total = 0
  /// So many are let be before it is looked which have been received.
  private var lookAt = 32
  /// How long after something has been sent it is looked whether it has been received: a socket for an answer is
  /// closed then. Nanoseconds.
  private static let pause: UInt64 = 20_000_000
  /// When to look next, monotonic nanoseconds; nil if nothing has been sent since the last look.
  private(set) var nextLook: UInt64?

  /// - Parameters:
  ///   - count: Descriptors that have been sent.
  ///   - socket: On what; kept open until they have been received.
  ///   - client: To whom; nil for one that is becoming a client.
  ///   - isStrangers: Whether that is a stranger.
  mutating func note(
    _ count: Int, on socket: PeerSocket, to client: ClientTag?, isStrangers: Bool
  ) {
    guard count > 0 else { return }
    let key = ObjectIdentifier(socket)
    let before = entries[key]?.count ?? 0
    entries[key] = Entry(
      socket: socket, client: client, isStrangers: isStrangers, count: before + count)
    total += count
    nextLook = nextLook ?? monotonicNanoseconds() + Self.pause
    if total >= lookAt { look() }
  }

  /// Forgets what has been received, if it is time.
  mutating func lookIfDue() {
    if let nextLook, monotonicNanoseconds() >= nextLook { look() }
  }

  /// Forgets what has been received.
  mutating func look() {
    for (key, entry) in entries where !entry.socket.isUnread {
      total -= entry.count
      entries[key] = nil
    }
    lookAt = max(32, total * 2)
    nextLook = nil
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
    func hasRoom() -> Bool {
      entries.values.lazy.filter { $0.client == client }.reduce(0) { $0 + $1.count }
        < Self.answersMax && (!isStranger || hasRoomForStranger(user))
    }
    if total < Self.answersMax || hasRoom() { return true }
    look()
    return hasRoom()
  }

  /// - Throws: ``NetmapError`` `EMFILE` when this user may not be answered at once with descriptors now.
  mutating func check(_ user: UInt32, isStranger: Bool) throws(NetmapError) {
    func hasRoom() -> Bool {
      isStranger ? hasRoomForStranger(user) : total < Self.allOpeningMax
    }
    if hasRoom() { return }
    look()
    guard !hasRoom() else { return }
    let who = isStranger ? "user \(user), or users with isolated ports together," : "processes"
    throw NetmapError(
      .tooManyFiles, "ask", "netmapd",
      reason: "\(who) have not received the descriptors that netmapd sent them",
      remedy: "end those that do not receive them, or try again later")
  }

  private func hasRoomForStranger(_ user: UInt32) -> Bool {
    guard total >= Self.strangerMax else { return true }
    var (own, together) = (0, 0)
    for entry in entries.values where entry.isStrangers {
      together += entry.count
      if entry.socket.user == user { own += entry.count }
    }
    return own < Self.strangerMax && together < Self.strangersMax
  }
}
