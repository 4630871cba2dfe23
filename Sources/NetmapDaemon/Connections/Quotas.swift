internal import CLinux
internal import Glibc
internal import NetmapClient
internal import NetmapCore

// The resources of the daemon that one user may have at a time. Quotas apply to users and not to
// processes, because any user can start more processes. An error tells the user which limit it has
// reached. Other users do not notice.

/// The limits of one user.
struct Quota {
  /// Silent connections: those that belong neither to an open port nor to a client, because no
  /// message has come on them or their token is not bound.
  let silent: Int
  /// Connections of all kinds.
  let connections: Int
  /// Clients; all users together have 1024.
  let clients: Int
  /// Open ports, and isolated ports that were closed and are still being emptied.
  let ports: Int
  /// Ports that were closed and are kept because a client has not said that it no longer uses them.
  let kept: Int
  /// Requests that wait or are in progress.
  let requests: Int
  /// Bytes of the user's ports' own memory that the daemon has mapped.
  let memory: Int

  /// An untrusted user.
  ///
  /// Each of its isolated ports has a region of its own and makes the worker's turn longer.
  static let untrusted = Quota(
    silent: 64, connections: 320, clients: 64, ports: 64, kept: 64, requests: 64,
    memory: 64 << 30)
  /// A user of the trust domain.
  static let trusted = Quota(
    silent: 1024, connections: 16_384, clients: 768, ports: 8192, kept: 1024, requests: 1024,
    memory: 8 << 40)
  /// Root and the daemon's own user: the limits of the host.
  ///
  /// The limit of kept ports stays, because closed ports that clients never forget are a program's
  /// mistake, whichever user runs it.
  static let host = Quota(
    silent: .max, connections: .max, clients: .max, ports: .max, kept: 4096, requests: .max,
    memory: .max)
  /// All untrusted users together, so that room for other users remains when one person has many
  /// user numbers.
  static let untrustedTogether = Quota(
    silent: 1024, connections: 4096, clients: 512, ports: 1024, kept: 1024, requests: 1024,
    memory: 1 << 40)

  /// The most extra buffers that an untrusted user's port gets.
  static let extraBuffers = 4096

  static func of(_ user: UInt32, isUntrusted: Bool) -> Quota {
    if isUntrusted { return untrusted }
    return user == 0 || user == DaemonUser.own ? host : trusted
  }

  /// - Throws: ``NetmapError`` `EMFILE` when the limit is reached.
  fileprivate static func check(
    _ count: Int, _ limit: Int, _ what: String, of user: UInt32, _ operation: String,
    _ subject: String, remedy: String
  ) throws(NetmapError) {
    guard count >= limit else { return }
    throw NetmapError(
      .tooManyFiles, operation, subject,
      reason: "user \(user) has \(count) \(what), and the limit is \(limit)", remedy: remedy)
  }

  fileprivate static func checkTogether(
    _ count: Int, _ limit: Int, _ what: String, _ operation: String, _ subject: String
  ) throws(NetmapError) {
    guard count >= limit else { return }
    throw NetmapError(
      .tooManyFiles, operation, subject,
      reason: "users with isolated ports have \(count) \(what) together, and the limit is \(limit)",
      remedy: "try again later, or join the group that owns the socket")
  }
}

/// The connections of one user, or of all untrusted users together.
final class ConnectionUsage {
  var open = 0
  /// The number of silent connections among them.
  var silent = 0
  /// Whether one of them was admitted as an untrusted user's.
  var isUntrusted = false
}

extension Admission {
  /// Whether clients of this user are untrusted under these rules.
  func isUntrusted(_ user: UInt32) -> Bool {
    switch self {
    case .trusts: false
    case .isolatesOthers: user != 0 && user != DaemonUser.own
    case .isolates: true
    }
  }
}

extension Server {
  /// The usage records in which a connection of this user counts.
  func books(of user: UInt32, _ admission: Admission) -> [ConnectionUsage] {
    let own = usage[user] ?? ConnectionUsage()
    usage[user] = own
    guard admission.isUntrusted(user) else { return [own] }
    own.isUntrusted = true
    return [own, untrustedUsage]
  }

  func forgetBooks(of user: UInt32) {
    if usage[user]?.open == 0 { usage[user] = nil }
  }

  /// - Throws: ``NetmapError`` `EMFILE` when a user may not have another connection.
  func checkConnections(
    of peer: clinux_credentials, _ admission: Admission
  ) throws(NetmapError) {
    guard peer.process != getpid() else { return }
    let user = peer.user
    let quota = Quota.of(user, isUntrusted: admission.isUntrusted(user))
    let subject = "netmapd"
    guard quota.connections == .max || !closer.isStuck(for: user) else {
      throw NetmapError(
        .tooManyFiles, "connect", subject,
        reason: "closing descriptors that user \(user) has sent does not finish",
        remedy: "end what blocks the close, such as a file system that does not answer")
    }
    let usage = usage[user]
    try Quota.check(
      usage?.open ?? 0, quota.connections, "connections", of: user, "connect", subject,
      remedy: "close some ports")
    try Quota.check(
      usage?.silent ?? 0, quota.silent, "connections without an open port", of: user, "connect",
      subject, remedy: "close some of them, or open ports on them")
    guard admission.isUntrusted(user) else { return }
    let together = Quota.untrustedTogether
    try Quota.checkTogether(
      untrustedUsage.open, together.connections, "connections", "connect", subject)
    try Quota.checkTogether(
      untrustedUsage.silent, together.silent, "connections without an open port", "connect",
      subject)
  }

  /// - Throws: ``NetmapError`` `EMFILE` when a user may not have another process attached.
  func checkClients(of sender: Sender, _ role: Role) throws(NetmapError) {
    guard role == .trusted || role == .untrusted else { return }
    let isUntrusted = role == .untrusted
    let quota = Quota.of(sender.user, isUntrusted: isUntrusted)
    try Quota.check(
      clients.values.count { $0.user == sender.user && $0.isUntrusted == isUntrusted },
      quota.clients, "attached processes", of: sender.user, "connect", "netmapd",
      remedy: "end some of these processes")
    try unread.check(sender.user, isUntrusted: isUntrusted)
    guard isUntrusted else { return }
    try Quota.checkTogether(
      clients.values.count { $0.isUntrusted }, Quota.untrustedTogether.clients,
      "attached processes", "connect", "netmapd")
  }

  /// - Throws: ``NetmapError`` `EMFILE` when a user may not have another request waiting.
  func checkRequests(of client: Client) throws(NetmapError) {
    let quota = Quota.of(client.user, isUntrusted: client.isUntrusted)
    try Quota.check(
      turns.count(of: client.user), quota.requests, "waiting requests", of: client.user, "ask",
      "netmapd", remedy: "send fewer requests at a time")
    guard client.isUntrusted else { return }
    try Quota.checkTogether(
      turns.untrustedCount, Quota.untrustedTogether.requests, "waiting requests", "ask", "netmapd")
  }

  /// - Throws: ``NetmapError`` `EMFILE` when a user may not have another port.
  func checkPorts(of client: Client, for name: PortName) throws(NetmapError) {
    guard client.role == .trusted || client.role == .untrusted else { return }
    let (user, isUntrusted) = (client.user, client.isUntrusted)
    let quota = Quota.of(user, isUntrusted: isUntrusted)
    var (open, kept, memory) = (0, 0, 0)
    var (allOpen, allKept, allMemory) = (0, 0, 0)
    var regions: Set<ObjectIdentifier> = []
    for binding in bindings.values where !binding.isHidden && binding.attachedAs == nil {
      let isOwn = binding.user == user && binding.isUntrusted == isUntrusted
      guard isOwn || isUntrusted && binding.isUntrusted else { continue }
      let counts = binding.isOpen || binding.isCarried
      let region = binding.registration.region
      let byteCount =
        regions.insert(ObjectIdentifier(region)).inserted ? region.byteCount : 0
      if isOwn {
        if counts { open += 1 } else { kept += 1 }
        memory += byteCount
      }
      if binding.isUntrusted {
        if counts { allOpen += 1 } else { allKept += 1 }
        allMemory += byteCount
      }
    }
    // The port that this request opens does not count yet. Ports that other clients of the user are
    // opening do.
    open += pending.values.count { $0.user == user && $0.isRegistration && $0.client != client.tag }
    let subject = name.rawValue
    let remedy =
      isUntrusted
      ? "close some ports, or join the group that owns the socket" : "close some ports"
    try Quota.check(
      open, quota.ports, isUntrusted ? "open isolated ports" : "open ports", of: user, "open",
      subject, remedy: remedy)
    try Quota.check(
      kept, quota.kept, "closed ports that processes still use", of: user, "open", subject,
      remedy: "end these processes")
    try Quota.check(
      memory, quota.memory, "bytes of mapped ports", of: user, "open", subject, remedy: remedy)
    guard isUntrusted else { return }
    let together = Quota.untrustedTogether
    try Quota.checkTogether(allOpen, together.ports, "open ports", "open", subject)
    try Quota.checkTogether(
      allKept, together.kept, "closed ports that processes still use", "open", subject)
    try Quota.checkTogether(allMemory, together.memory, "bytes of mapped ports", "open", subject)
  }

  // MARK: - Silent connections

  /// How long a connection may stay silent while its user has many silent connections, nanoseconds.
  private static let silence: UInt64 = 5_000_000_000
  private static let silentPause: UInt64 = 1_000_000_000

  /// When the server checks silent connections again, monotonic nanoseconds; nil while no user has
  /// many of them.
  var silentTime: UInt64? {
    usage.contains(where: { hasManySilent($0.key, $0.value) })
      ? silentSeenAt + Self.silentPause : nil
  }

  private func hasManySilent(_ user: UInt32, _ usage: ConnectionUsage) -> Bool {
    // A cheap check first: no user's threshold is lower than half of an untrusted user's limit. For
    // users without a limit, 4096 takes its place.
    usage.silent >= Quota.untrusted.silent / 2
      && usage.silent >= min(Quota.of(user, isUntrusted: usage.isUntrusted).silent, 4096) / 2
  }

  /// Ends old silent connections of users who have many.
  ///
  /// A token may stay unbound for any time, but a process with so many of them is not about to open
  /// ports.
  func endSilent() {
    let now = monotonicNanoseconds()
    guard let time = silentTime, now >= time else { return }
    silentSeenAt = now
    for connection in connections.values
    where connection.isSilent && now >= connection.since + Self.silence {
      guard let usage = usage[connection.user], hasManySilent(connection.user, usage) else {
        continue
      }
      drop(connection)
    }
  }
}
