internal import Logging
internal import NetmapClient
internal import NetmapCore

/// A request that the control thread decides, and what to do with it then.
final class Request {
  let client: ClientTag
  let user: UInt32
  let role: Role
  let reply: PeerSocket
  /// The key of the connection that carried the request.
  ///
  /// The server reads nothing more from it until the request is answered.
  let connection: UInt64
  /// For a registration: the network namespace in which the client asks; nil for the daemon's own.
  let namespace: NamespaceFile?
  /// Whether it is to open a port.
  let isRegistration: Bool
  /// For a registration: when the client's use of the rings ends.
  let viewEnd: ViewEnd
  /// Since when the request has been waiting for clients to receive earlier answers, monotonic
  /// nanoseconds; nil if it does not wait for that.
  fileprivate(set) var heldSince: UInt64?
  /// Passes the request to the control thread under the ticket that its answer will carry.
  let start: (UInt64) throws(NetmapError) -> Void

  init(
    of client: Client, on connection: Connection, _ reply: PeerSocket,
    namespace: NamespaceFile? = nil, isRegistration: Bool = false,
    viewEnd: ViewEnd = .whenForgotten,
    start: @escaping (UInt64) throws(NetmapError) -> Void
  ) {
    self.client = client.tag
    user = client.user
    role = client.role
    self.reply = reply
    self.connection = connection.key
    self.namespace = namespace
    self.isRegistration = isRegistration
    self.viewEnd = viewEnd
    self.start = start
  }
}

/// The queue of requests, which decides whose request is next.
///
/// The control thread decides requests in the order in which it gets them, so it gets only a few at
/// a time: one for each client, few for a user, and fewer for all untrusted users together. Users
/// take turns.
struct RequestTurns {
  /// The most requests of one trusted user in progress.
  ///
  /// Some of them may wait for resources.
  static let trustedMax = 16
  /// The most requests in progress of one untrusted user, and of all untrusted users together.
  static let untrustedUserMax = 2
  static let untrustedMax = 4

  private var waiting: [UInt32: [Request]] = [:]
  /// The users with waiting requests, in the order of their turns.
  private var order: [UInt32] = []
  private var clients: Set<ClientTag> = []
  private var running: [UInt32: Int] = [:]
  private var untrusted = 0

  /// How long a request waits for clients to receive earlier answers before the server refuses it,
  /// nanoseconds.
  static let heldMax: UInt64 = 3_000_000_000

  /// Whether a request waits for clients to receive earlier answers.
  private(set) var isHeldUp = false

  var isEmpty: Bool { order.isEmpty && running.isEmpty }

  /// The number of a user's requests that wait or are in progress.
  func count(of user: UInt32) -> Int {
    (waiting[user]?.count ?? 0) + (running[user] ?? 0)
  }

  /// The requests of all untrusted users that wait or are being decided.
  var untrustedCount: Int {
    waiting.values.reduce(untrusted) { $0 + $1.count { $0.role == .untrusted } }
  }

  mutating func add(_ request: Request) {
    if waiting[request.user] == nil { order.append(request.user) }
    waiting[request.user, default: []].append(request)
  }

  /// Takes the next request that may be decided now.
  ///
  /// The caller reports its end with ``finish(_:)``.
  ///
  /// - Parameter mayAnswer: Whether the client may be sent another answer with descriptors.
  /// - Returns: The request; nil when none may be decided.
  mutating func next(_ mayAnswer: (Request) -> Bool) -> Request? {
    isHeldUp = false
    for (turn, user) in order.enumerated() {
      let place = waiting[user]?.firstIndex { request in
        guard mayRun(request) else { return false }
        guard request.isRegistration, request.role != .own, !mayAnswer(request) else {
          request.heldSince = nil
          return true
        }
        request.heldSince = request.heldSince ?? monotonicNanoseconds()
        isHeldUp = true
        return false
      }
      if let place { return take(turn, place) }
    }
    return nil
  }

  /// Takes the next request that has waited longer than ``heldMax`` for clients to receive answers.
  ///
  /// The caller refuses it, and reports its end with ``finish(_:)``.
  mutating func nextHeldTooLong() -> Request? {
    guard isHeldUp else { return nil }
    let now = monotonicNanoseconds()
    for (turn, user) in order.enumerated() {
      let place = waiting[user]?.firstIndex { request in
        request.heldSince.map { now &- $0 > Self.heldMax } ?? false
      }
      if let place { return take(turn, place) }
    }
    return nil
  }

  private mutating func take(_ turn: Int, _ place: Int) -> Request? {
    let user = order[turn]
    guard let request = waiting[user]?.remove(at: place) else { return nil }
    order.remove(at: turn)
    if waiting[user]?.isEmpty == true { waiting[user] = nil } else { order.append(user) }
    if request.role != .own {
      clients.insert(request.client)
      running[user, default: 0] += 1
      if request.role == .untrusted { untrusted += 1 }
    }
    return request
  }

  private func mayRun(_ request: Request) -> Bool {
    switch request.role {
    // The daemon's own requests are part of its work for other clients.
    case .own: return true
    case .untrusted:
      guard untrusted < Self.untrustedMax, running[request.user] ?? 0 < Self.untrustedUserMax else {
        return false
      }
    case .trusted, .moduleHost:
      guard running[request.user] ?? 0 < Self.trustedMax else { return false }
    }
    return !clients.contains(request.client)
  }

  mutating func finish(_ request: Request) {
    guard request.role != .own else { return }
    clients.remove(request.client)
    let left = (running[request.user] ?? 1) - 1
    running[request.user] = left > 0 ? left : nil
    if request.role == .untrusted { untrusted -= 1 }
  }
}

extension Server {
  /// Queues a request to be decided in its turn.
  func ask(_ request: Request) {
    connections[request.connection].map { hold($0, true) }
    turns.add(request)
    startRequests()
  }

  /// Starts all requests that may be decided now.
  func startRequests() {
    while let request = turns.next({ request in
      unread.mayAnswer(request.client, isUntrusted: request.role == .untrusted, user: request.user)
    }) {
      // Put the releases of everything that has ended by now before this request.
      reap()
      lastTicket += 1
      pending[lastTicket] = request
      do throws(NetmapError) {
        guard connections[request.connection] != nil,
          let client = clients[request.client.slot], client.tag == request.client,
          !client.hasHungUp
        else {
          throw NetmapError(.badDescriptor, "ask", "netmapd", reason: "the process hung up")
        }
        try request.start(lastTicket)
      } catch {
        log.debug("refused", metadata: ["reason": "\(error)"])
        settle(lastTicket, request, (Message.refusal(error), []))
      }
    }
    while let request = turns.nextHeldTooLong() {
      lastTicket += 1
      pending[lastTicket] = request
      let error = UnreadFiles.refusal(of: request.user, isUntrusted: request.role == .untrusted)
      log.debug("refused", metadata: ["reason": "\(error)"])
      settle(lastTicket, request, (Message.refusal(error), []))
    }
  }

  /// Answers a decided request, and starts the next one.
  func finish(_ ticket: UInt64, _ reply: Reply) {
    guard let request = pending[ticket] else { return }
    settle(ticket, request, reply)
    startRequests()
  }

  func finish(_ ticket: UInt64, _ error: NetmapError) {
    log.debug("refused", metadata: ["reason": "\(error)"])
    finish(ticket, (Message.refusal(error), []))
  }

  private func settle(_ ticket: UInt64, _ request: Request, _ reply: Reply) {
    pending[ticket] = nil
    turns.finish(request)
    let isSent = send(
      reply, on: request.reply, to: request.client, isUntrusted: request.role == .untrusted)
    guard let connection = connections[request.connection] else { return }
    // The client never learns of the port: it gave up waiting, or cannot receive the descriptors.
    if !isSent, case .token(.bound(let id)) = connection.state {
      forget(id, by: request.client)
      unbind(connection)
    }
    if case .token(.binding) = connection.state { connection.state = .token(.unbound) }
    hold(connection, false)
  }
}
