import Glibc
import Netmap

/// A process of the soak: it opens a port, sends numbered packets or receives them, and keeps count on the board.
///
/// A worker may be killed or stopped at any instruction, so it stores an upper limit before it does something, and the
/// exact number afterwards.
final class PacketWorker {
  private let board: SoakBoard
  private let station: Int
  private let incarnation: UInt64
  private let settings: WorkerSettings
  private let port: NetmapPort
  private var random: SoakRandom
  /// The number of the next packet.
  private var number: UInt64 = 0
  private var nextTarget = 0
  /// Whether only packets have arrived that an earlier process of this station had recorded before it was killed.
  private var mayRepeat = true
  private var seenAgain: UInt64 = 0
  private var faultIsDue: Bool

  /// worker BOARD SOCKET STATION PORT SETTING...
  static func run(_ words: [String]) throws {
    guard words.count >= 4, let station = Int(words[2]) else {
      throw SoakError("a worker needs a board, a socket, a station and a port")
    }
    let board = try SoakBoard(words[0])
    do {
      let settings = try WorkerSettings(words.dropFirst(4))
      if settings.opens {
        return try OpenWorker(board, socket: words[1], station, settings).run()
      }
      if settings.isSleeper {
        return try SleepWorker(board, socket: words[1], station, words[3], settings).run()
      }
      try PacketWorker(board, socket: words[1], station, words[3], settings).run()
    } catch {
      board.text = "station \(station), process \(getpid()): \(error)"
      exit(3)
    }
  }

  private init(
    _ board: SoakBoard, socket: String, _ station: Int, _ name: String, _ settings: WorkerSettings
  ) throws {
    self.board = board
    self.station = station
    self.settings = settings
    incarnation = board[station, .incarnation]
    random = SoakRandom(seed: settings.seed &+ incarnation &* 1_000_003)
    faultIsDue = settings.fault != nil
    port = try NetmapPort(name, engine: try HostEngine(socket: socket))
  }

  private var sends: Bool { !settings.targets.isEmpty }

  private func run() throws {
    if settings.announces {
      // The switch learns the station's address from it.
      try send(1, to: SoakPacket.everybody)
    }
    board[station, .state] = SoakBoard.State.ready.rawValue
    while true {
      switch board.phase {
      case .run: try sends ? sendSome() : receiveSome()
      case .drain: try drain()
      case .end: return port.close()
      }
    }
  }

  // MARK: - Sending

  private func sendSome() throws {
    let port = port
    let room = port.transmitRing(0).space
    if room == 0 {
      _ = try port.wait(
        for: settings.receives ? [.transmit, .receive] : .transmit, timeout: .milliseconds(100))
    } else {
      try send(min(room, Int.random(in: 1...settings.batch, using: &random)), to: nil)
    }
    if settings.receives { try takeReceived() }
    if settings.pause > 0 { usleep(.random(in: 0...settings.pause, using: &random)) }
  }

  /// Puts packets in the ring, and syncs it.
  private func send(_ count: Int, to target: Int?) throws {
    // Also if this process is killed before the next store, no more packets than these are in the ring.
    board[station, .staged] = number + UInt64(count)
    let port = port
    var ring = port.transmitRing(0)
    for _ in 0..<count {
      let packet = nextPacket(to: target)
      let isDamaged = takeFault(.damage)
      guard
        ring.append(
          length: packet.length,
          {
            packet.write(to: &$0)
            if isDamaged { $0.storeBytes(of: 0x55, toByteOffset: 40, as: UInt8.self) }
          })
      else { break }
      if !takeFault(.repeat) { number += 1 }
    }
    board[station, .staged] = number
    try port.sync(.transmit)
    board[station, .confirmed] = number
  }

  private func nextPacket(to target: Int?) -> SoakPacket {
    var to = target ?? settings.targets[nextTarget]
    if target == nil { nextTarget = (nextTarget + 1) % settings.targets.count }
    if target == nil, settings.floods > 0, random.chance(settings.floods) {
      to = SoakPacket.everybody
    }
    let length = random.chance(20) ? Int.random(in: SoakPacket.lengths, using: &random) : 60
    return SoakPacket(
      sender: station, target: to, incarnation: incarnation, number: number, length: length)
  }

  private func drain() throws {
    guard sends else { return try receiveSome() }
    if settings.receives { try takeReceived() }
    guard board.state(of: station) != .drained else {
      usleep(1000)
      return
    }
    let port = port
    try port.sync(.transmit)
    let ring = port.transmitRing(0)
    if ring.space == ring.slotCount - 1 {
      board[station, .state] = SoakBoard.State.drained.rawValue
    } else {
      _ = try port.wait(for: .transmit, timeout: .milliseconds(10))
    }
  }

  // MARK: - Receiving

  private func receiveSome() throws {
    if try port.wait(for: .receive, timeout: .milliseconds(100)).contains(.error) {
      try port.sync(.receive)
    }
    try record()
    if settings.pause > 0 { usleep(.random(in: 0...settings.pause, using: &random)) }
  }

  private func takeReceived() throws {
    try port.sync(.receive)
    try record()
  }

  private func record() throws {
    let port = port
    var ring = port.receiveRing(0)
    // `forEach` moves the ring's head after the last packet, so a worker that is killed has recorded every packet before
    // the head that the next worker finds. `next` moves the head first: the packet between would count as lost.
    try ring.forEach { packet in
      // The slots that a dead sender had reserved on a switch arrive empty.
      if packet.bytes.byteCount > 0 { try record(packet.bytes) }
    }
  }

  private func record(_ bytes: RawSpan) throws {
    guard let packet = SoakPacket(bytes), packet.sender < SoakBoard.stations else {
      throw SoakFailure(
        "a damaged packet of \(bytes.byteCount) bytes arrived: \(Self.start(of: bytes))")
    }
    if takeFault(.lose) { return }
    var cell = board[station, from: packet.sender]
    let what =
      "packet \(packet.number) of process \(packet.incarnation) of station \(packet.sender)"
    if packet.incarnation > cell.incarnation {
      // What the previous process had seen go out must have arrived.
      if settings.isStrict, packet.incarnation == cell.incarnation + 1,
        cell.end < board[packet.sender, .count2]
      {
        throw SoakFailure(
          "\(what) arrived after packet \(cell.end) of \(board[packet.sender, .count2]) of the process before"
        )
      }
      (cell.before, cell.count, cell.end) = (cell.total, 0, 0)
      cell.incarnation = packet.incarnation
    }
    if packet.incarnation < cell.incarnation || packet.number < cell.end {
      // A process that was killed may have recorded packets whose slots it had not returned.
      guard mayRepeat, settings.isPipe else {
        throw SoakFailure("\(what) arrived after packet \(cell.end) of process \(cell.incarnation)")
      }
      seenAgain += 1
      board[station, .count] = seenAgain
      return
    }
    // An isolated port's process that dies takes the packets in its rings with it.
    if settings.isStrict, packet.number != cell.end, !(mayRepeat && settings.mayMiss) {
      throw SoakFailure("\(what) arrived instead of packet \(cell.end)")
    }
    mayRepeat = false
    cell.count += 1
    cell.end = packet.number + 1
    board[station, from: packet.sender] = cell
  }

  private static func start(of bytes: RawSpan) -> String {
    (0..<min(48, bytes.byteCount)).map { index in
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
      return byte < 16 ? "0\(String(byte, radix: 16))" : String(byte, radix: 16)
    }.joined(separator: " ")
  }

  /// Whether the worker makes a mistake now; once.
  private func takeFault(_ fault: SoakFault) -> Bool {
    guard faultIsDue, settings.fault == fault, board.faultTime != 0, now() >= board.faultTime
    else { return false }
    faultIsDue = false
    return true
  }
}

/// What a worker does, as words of a command line.
struct WorkerSettings {
  /// The stations to which it sends, in turn; empty for a worker that only receives.
  var targets: [Int] = []
  /// Percent of packets that are broadcasts.
  var floods = 0
  /// The most packets of a sync.
  var batch = 16
  /// The longest pause after each batch, microseconds.
  var pause: UInt32 = 0
  var seed: UInt64 = 1
  /// Whether a sender also receives.
  var receives = false
  /// Whether the worker sends a broadcast first, so that the switch learns its address.
  var announces = false
  /// Whether no packet may be missing.
  var isStrict = false
  /// Whether packets may be missing after a receiver has started.
  var mayMiss = false
  /// Whether the port is a pipe, in whose rings a process finds what an earlier one has left.
  var isPipe = false
  var fault: SoakFault?
  /// How a sleeping process waits; nil for other workers.
  var sleeping: String?

  /// Whether the worker opens and closes ports.
  var opens = false
  /// Whether it opens one of each kind, and ends.
  var opensEachOnce = false
  /// Whether there are interfaces `soak0` and `soak1`.
  var hasInterfaces = false
  /// The path of a module.
  var module: String?

  var isSleeper: Bool { sleeping != nil }

  init() {}

  init(_ words: some Sequence<String>) throws {
    for word in words {
      let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
      let value = parts.count > 1 ? parts[1] : ""
      switch parts[0] {
      case "targets": targets = value.split(separator: ",").compactMap { Int($0) }
      case "floods": floods = Int(value) ?? 0
      case "batch": batch = Int(value) ?? 1
      case "pause": pause = UInt32(value) ?? 0
      case "seed": seed = UInt64(value) ?? 1
      case "receives": receives = true
      case "announces": announces = true
      case "strict": isStrict = true
      case "misses": mayMiss = true
      case "pipe": isPipe = true
      case "fault": fault = SoakFault(rawValue: value)
      case "sleeping": sleeping = value
      case "opens": opens = true
      case "once": opensEachOnce = true
      case "interfaces": hasInterfaces = true
      case "module": module = value
      default: throw SoakError("no setting: \(word)")
      }
    }
  }

  var words: [String] {
    var words = ["floods=\(floods)", "batch=\(batch)", "pause=\(pause)", "seed=\(seed)"]
    if !targets.isEmpty {
      words.append("targets=\(targets.map(String.init).joined(separator: ","))")
    }
    for (flag, word) in [
      (receives, "receives"), (announces, "announces"), (isStrict, "strict"), (mayMiss, "misses"),
      (isPipe, "pipe"),
    ] where flag { words.append(word) }
    if let fault { words.append("fault=\(fault.rawValue)") }
    if opens { words.append("opens") }
    if opensEachOnce { words.append("once") }
    if hasInterfaces { words.append("interfaces") }
    if let module { words.append("module=\(module)") }
    if let sleeping { words.append("sleeping=\(sleeping)") }
    return words
  }
}
