internal import Logging
internal import NetmapClient
internal import NetmapCore

/// A request that takes the control thread's time, and what to do when it is decided.
final class Request {
  let client: ClientTag
  let user: UInt32
  let role: Role
  let reply: PeerSocket
  /// What it was sent on: nothing more is read from that until it is answered.
  let connection: UInt64
  /// For a registration: the network namespace it is for.
  let namespace: NamespaceFile?
  /// Whether it is to open a port.
  let isRegistration: Bool
  /// Since when the answers that its user has not received keep it waiting, monotonic nanoseconds; nil if they do not.
  fileprivate(set) var heldSince: UInt64?
  /// Puts it before the control thread, under the ticket that its answer will have.
  let start: (UInt64) throws(NetmapError) -> Void

  init(
    of client: Client, on connection: Connection, _ reply: PeerSocket,
    namespace: NamespaceFile? = nil, isRegistration: Bool = false,
    start: @escaping (UInt64) throws(NetmapError) -> Void
  ) {
    self.client = client.tag
    user = client.user
    role = client.role
    self.reply = reply
    self.connection = connection.key
    self.namespace = namespace
    self.isRegistration = isRegistration
    self.start = start
  }
}

/// Who is next to have a request decided.
///
/// The control thread decides in the order in which it is asked, so it is asked for few at a time: one for each
/// client, few for a user, fewer for all strangers together. Users take turns.
struct RequestTurns {
  /// Requests of one trusted user that are being decided at a time. Some of them may wait for something.
  static let trustedMax = 16
  /// Of one stranger, and of all strangers.
  static let strangerMax = 2
  static let strangersMax = 4

  private var waiting: [UInt32: [Request]] = [:]
  /// Users who have some waiting; the first one's turn is next.
  private var order: [UInt32] = []
  private var clients: Set<ClientTag> = []
  private var running: [UInt32: Int] = [:]
  private var strangers = 0

  /// How long a request waits for answers to be received before it is refused, nanoseconds.
  static let heldMax: UInt64 = 3_000_000_000

  /// Whether some are not decided because of answers that their processes have not received.
  private(set) var isHeldUp = false

  var isEmpty: Bool { order.isEmpty && running.isEmpty }

  /// Requests of a user that wait or are being decided.
  func count(of user: UInt32) -> Int {
    (waiting[user]?.count ?? 0) + (running[user] ?? 0)
  }

  mutating func add(_ request: Request) {
    if waiting[request.user] == nil { order.append(request.user) }
    waiting[request.user, default: []].append(request)
  }

  /// The next one that may be decided now; ``finish(_:)`` says that it has been.
  ///
  /// - Parameter mayAnswer: Whether the answer may be sent, which has descriptors with it.
  /// - Returns: Nil when none may be.
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

  /// The next one that has waited for answers to be received for longer than ``heldMax``. It is to be refused, and
  /// ``finish(_:)`` says that it has been.
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
      if request.role == .stranger { strangers += 1 }
    }
    return request
  }

  private func mayRun(_ request: Request) -> Bool {
    switch request.role {
    // What the daemon asks itself is part of what it does for others.
    case .own: return true
    case .stranger:
      guard strangers < Self.strangersMax, running[request.user] ?? 0 < Self.strangerMax else {
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
    if request.role == .stranger { strangers -= 1 }
  }
}

extension Server {
  /// Has a request decided in its turn.
  func ask(_ request: Request) {
    connections[request.connection].map { hold($0, true) }
    turns.add(request)
    startRequests()
  }

  /// Begins what may be decided now.
  func startRequests() {
    while let request = turns.next({ request in
      unread.mayAnswer(request.client, isStranger: request.role == .stranger, user: request.user)
    }) {
      // Whatever has ended by now is put before it.
      reap()
      lastTicket += 1
      pending[lastTicket] = request
      do throws(NetmapError) {
        guard connections[request.connection] != nil,
          let client = clients[request.client.slot], client.tag == request.client,
          !client.hasHungUp
        else {
          throw NetmapError(.badDescriptor, "ask", "netmapd", reason: "the process has gone")
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
      let error = UnreadFiles.refusal(of: request.user, isStranger: request.role == .stranger)
      log.debug("refused", metadata: ["reason": "\(error)"])
      settle(lastTicket, request, (Message.refusal(error), []))
    }
  }

  /// Answers a request that has been decided, and lets the next one begin.
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
      reply, on: request.reply, to: request.client, isStrangers: request.role == .stranger)
    guard let connection = connections[request.connection] else { return }
    // Who asked does not see the port, and closes the token.
    if !isSent, case .token(.bound(let id)) = connection.state { forget(id, by: request.client) }
    if case .token(.binding) = connection.state { connection.state = .token(.unbound) }
    hold(connection, false)
  }
}
