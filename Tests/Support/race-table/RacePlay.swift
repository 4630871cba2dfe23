import Glibc
import Netmap
import TableSupport

/// Words of the board.
enum RaceWord {
  /// The operations that have begun, and those that have ended: an odd number while one is under way.
  static let operations = 0
  /// 1 while instructions are executed one by one.
  static let isSlow = 1
  /// The round, the changes since the order, and the first round since the last check.
  static let round = 2
  static let changes = 3
  static let checked = 4
  /// The round's access, mode, kind of value and value: four words.
  static let plan = 8
  /// Why the process has ended: a `crace_death`.
  static let death = 64
}

/// The rounds of a pair that a process shall do.
struct RaceOrder {
  var seed: UInt64
  /// A text that gives each pair other random numbers.
  var key: String
  var first: Int
  /// The most rounds, and the number of changes after which no further one is needed.
  var rounds: Int
  var changes: Int
  /// Whether any number of changes will do, and not exactly these rounds are wanted.
  var isOpen: Bool
}

/// What has become of them.
struct RaceReport {
  var rounds = 0
  var changes = 0
  /// The first round that may be at fault.
  var start = 0
  /// Whether an interface's port has to be opened again.
  var isWorn = false
  var failure: String?
}

/// Datagrams between the runner and the process of a row: fields of text.
struct RaceChannel {
  let runner: CInt
  let process: CInt

  init() throws {
    var ends: [CInt] = [0, 0]
    guard
      unsafe socketpair(
        AF_UNIX, CInt(SOCK_SEQPACKET.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0, &ends) == 0
    else { throw TableError("socketpair: errno \(errno)") }
    (runner, process) = (ends[0], ends[1])
  }

  func close() {
    _ = Glibc.close(runner)
    _ = Glibc.close(process)
  }

  static func send(_ fields: [String], to end: CInt) throws {
    let bytes = [UInt8](fields.joined(separator: "\t").utf8.prefix(60_000))
    guard unsafe Glibc.send(end, bytes, bytes.count, CInt(MSG_NOSIGNAL)) == bytes.count
    else { throw TableError("send: errno \(errno)") }
  }

  /// Waits for a datagram.
  ///
  /// - Parameters:
  ///   - end: The end that waits.
  ///   - milliseconds: The longest wait; -1 for no limit.
  /// - Returns: Its fields; nil when none has come, or the other end has closed.
  static func receive(from end: CInt, _ milliseconds: CInt) -> [String]? {
    var entry = pollfd(fd: end, events: Int16(POLLIN), revents: 0)
    guard unsafe poll(&entry, 1, milliseconds) == 1 else { return nil }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    let count = unsafe recv(end, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    return String(decoding: bytes.prefix(count), as: UTF8.self)
      .split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
  }
}

/// What the process of a row does: it finds the words, and then does the rounds that the runner orders.
enum RacePlay {
  static func play(_ rows: [any RaceRow], _ channel: RaceChannel) -> Nursery.Play {
    { row, _, socket, board in
      do {
        let engine = try HostEngine(socket: socket)
        let bystanders = try RaceBystanders(engine)
        let operation = try rows[row].victim(engine)
        let rounds = try RaceRounds(rows[row], operation, bystanders, board)
        for pair in rounds.pairs { try RaceChannel.send(["pair", pair.name], to: channel.process) }
        try RaceChannel.send(["ready"], to: channel.process)
        while let fields = RaceChannel.receive(from: channel.process, -1) {
          guard let (index, order) = order(fields) else { throw TableError("no order: \(fields)") }
          try RaceChannel.send(fields: rounds.attack(index, order), to: channel.process)
        }
        _exit(0)
      } catch {
        board.text = "\(error)"
        _exit(1)
      }
    }
  }

  static func fields(_ index: Int, _ order: RaceOrder) -> [String] {
    [
      "\(index)", "\(order.seed)", order.key, "\(order.first)", "\(order.rounds)",
      "\(order.changes)", order.isOpen ? "1" : "0",
    ]
  }

  private static func order(_ fields: [String]) -> (Int, RaceOrder)? {
    guard fields.count == 7, let index = Int(fields[0]), let seed = UInt64(fields[1]),
      let first = Int(fields[3]), let rounds = Int(fields[4]), let changes = Int(fields[5])
    else { return nil }
    return (
      index,
      RaceOrder(
        seed: seed, key: fields[2], first: first, rounds: rounds, changes: changes,
        isOpen: fields[6] == "1")
    )
  }
}

extension RaceChannel {
  static func send(fields report: RaceReport, to end: CInt) throws {
    try send(
      [
        "report", "\(report.rounds)", "\(report.changes)", "\(report.start)",
        report.isWorn ? "1" : "0", report.failure == nil ? "0" : "1", report.failure ?? "",
      ], to: end)
  }

  static func report(_ fields: [String]) -> RaceReport? {
    guard fields.count >= 7, fields[0] == "report", let rounds = Int(fields[1]),
      let changes = Int(fields[2]), let start = Int(fields[3])
    else { return nil }
    return RaceReport(
      rounds: rounds, changes: changes, start: start, isWorn: fields[4] == "1",
      failure: fields[5] == "1" ? fields[6...].joined(separator: " ") : nil)
  }
}
