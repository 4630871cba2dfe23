import CLinux
import Glibc
import Netmap

/// Uses ports on the engine that all processes share, in a process that tests can kill and stop:
///
///     host-peer send PORT SENDER COUNT [BATCH]
///     host-peer send-all PORT SENDER COUNT BATCH
///     host-peer receive PORT COUNT
///     host-peer receive PORT COUNT PROGRESS-FILE
///     host-peer listen PORT
///     host-peer forward PORT PORT BATCH
///     host-peer hold-lock NAME transmit|receive
///     host-peer close-all NAME
///     host-peer close-everything NAME plain|guard
///     host-peer hold-lock-exec NAME PROGRAM [ARGUMENT...]
///     host-peer die-unrung NAME SENDER
///     host-peer send-starved PORT
///     host-peer hand-over fork|daemonise|exec PORT COUNT
///     host-peer token DESCRIPTOR COUNT
///     host-peer reopen PORT COUNT
///     host-peer flow-send PORT SENDER COUNT PAUSE
///     host-peer flow-receive PORT COUNT
///     host-peer station-send PORT STATION TARGET[,TARGET...] INCARNATION BOARD PAUSE
///     host-peer station-listen PORT STATION BOARD
///     host-peer station-flap PORT PORT STATION COUNT
///     host-peer hold PORT
///     host-peer hold-in NAMESPACE PORT
///     host-peer hold-many PIPES
///     host-peer open-all NAME COUNT
///     host-peer open-loop NAME
///     host-peer activate SOCKET PROGRAM [ARGUMENT...]
///     host-peer overhear SOCKET [CONNECTIONS]
///     host-peer fork-embedded
///
/// `listen` receives without end the packets that a switch did not drop: packets may be missing, but none may
/// be damaged or out of order. A flow passes through interfaces, which may lose packets: its sender pauses for
/// some microseconds after each batch, and its receiver requires increasing numbers from each sender. `hold`
/// does not even sync. `hold-many` opens both ends of PIPES pipes, and waits on all of them.
///
/// Packets carry the sender's number, their own number, and a check word. With COUNT 0 a command does not end.
/// Each prints `ready` once the port is open, and its result or error at the end.
@main
struct HostPeer {
  static func main() {
    let arguments = CommandLine.arguments
    do {
      switch arguments.count >= 2 ? arguments[1] : "" {
      case "send" where arguments.count >= 5:
        try send(
          NetmapPort(arguments[2], engine: HostEngine.shared), sender: UInt64(arguments[3]) ?? 0,
          count: UInt64(arguments[4]) ?? 0,
          batch: arguments.count > 5 ? Int(arguments[5]) ?? 64 : 64)
      case "receive" where arguments.count >= 4:
        try receive(
          NetmapPort(arguments[2], engine: HostEngine.shared), count: UInt64(arguments[3]) ?? 0,
          ReceiveProgress(file: arguments.count > 4 ? arguments[4] : nil))
      case "listen" where arguments.count >= 3:
        try receive(
          NetmapPort(arguments[2], engine: HostEngine.shared), count: 0, mayMissSome: true)
      case "forward" where arguments.count >= 5:
        try forward(
          NetmapPort(arguments[2], engine: HostEngine.shared),
          NetmapPort(arguments[3], engine: HostEngine.shared), batch: Int(arguments[4]) ?? 64)
      case "flow-send" where arguments.count >= 6:
        try sendFlow(
          NetmapPort(arguments[2], engine: HostEngine.shared), sender: UInt64(arguments[3]) ?? 0,
          count: UInt64(arguments[4]) ?? 0, pause: UInt32(arguments[5]) ?? 0)
      case "flow-receive" where arguments.count >= 4:
        try receiveFlow(
          NetmapPort(arguments[2], engine: HostEngine.shared), count: UInt64(arguments[3]) ?? 0)
      case "send-all" where arguments.count >= 6:
        let port = try NetmapPort(arguments[2], engine: HostEngine.shared)
        try send(
          port, sender: UInt64(arguments[3]) ?? 0, count: UInt64(arguments[4]) ?? 0,
          batch: Int(arguments[5]) ?? 64, waitsForRoom: true)
      case "station-send" where arguments.count >= 8:
        try sendToStations(
          NetmapPort(arguments[2], engine: HostEngine.shared), own: UInt8(arguments[3]) ?? 0,
          targets: arguments[4].split(separator: ",").compactMap { UInt8($0) },
          incarnation: UInt64(arguments[5]) ?? 0, board: Board(file: arguments[6]),
          pause: UInt32(arguments[7]) ?? 0)
      case "station-listen" where arguments.count >= 5:
        try listenAsStation(
          NetmapPort(arguments[2], engine: HostEngine.shared), own: UInt8(arguments[3]) ?? 0,
          board: Board(file: arguments[4]))
      case "station-flap" where arguments.count >= 6:
        try flap(
          [
            NetmapPort(arguments[2], engine: HostEngine.shared),
            NetmapPort(arguments[3], engine: HostEngine.shared),
          ], own: UInt8(arguments[4]) ?? 0, count: Int(arguments[5]) ?? 0)
      case "hold" where arguments.count >= 3:
        let port = try NetmapPort(arguments[2], engine: HostEngine.shared)
        say("ready: \(port.backend?.description ?? "no backend")")
        while true { pause() }
      case "hold-in" where arguments.count >= 4: try hold(arguments[3], in: arguments[2])
      case "hold-many" where arguments.count >= 3:
        try holdMany(Int(arguments[2]) ?? 0)
      case "open-all" where arguments.count >= 4:
        openAll(arguments[2], Int(arguments[3]) ?? 0)
      case "open-loop" where arguments.count >= 3: try openLoop(arguments[2])
      case "hold-lock" where arguments.count >= 4:
        try holdLock(arguments[2], arguments[3] == "transmit" ? .transmit : .receive)
      case "close-everything" where arguments.count >= 4:
        try closeEverything(arguments[2], guards: arguments[3] == "guard")
      case "close-all" where arguments.count >= 3: try closeAll(arguments[2])
      case "hold-lock-exec" where arguments.count >= 4:
        try holdLockAndExec(arguments[2], Array(arguments[3...]))
      case "send-starved" where arguments.count >= 3: try sendStarved(arguments[2])
      case "die-unrung" where arguments.count >= 4:
        try dieUnrung(arguments[2], sender: UInt64(arguments[3]) ?? 0)
      case "hand-over" where arguments.count >= 5:
        try handOver(arguments[2], arguments[3], count: arguments[4])
      case "token" where arguments.count >= 4:
        try receive(
          HostEngine.shared.port(token: Int32(arguments[2]) ?? -1),
          count: UInt64(arguments[3]) ?? 0)
      case "reopen" where arguments.count >= 4:
        try reopen(arguments[2], count: Int(arguments[3]) ?? 0)
      case "activate" where arguments.count >= 4:
        try activate(arguments[2], Array(arguments[3...]))
      case "overhear" where arguments.count >= 3:
        try overhear(arguments[2], arguments.count > 3 ? Int(arguments[3]) ?? 1 : 1)
      case "fork-embedded": try forkEmbedded()
      default: fail("usage: host-peer send PORT SENDER COUNT [BATCH] | receive PORT COUNT")
      }
    } catch {
      fail("\(error)")
    }
  }

  static func send(
    _ port: NetmapPort, sender: UInt64, count: UInt64, batch: Int, waitsForRoom: Bool = false
  ) throws {
    say("ready")
    var number: UInt64 = 0
    while count == 0 || number < count {
      var ring = port.transmitRing(0)
      let room = min(ring.space, batch, count == 0 ? .max : Int(count - number))
      guard room > 0 else {
        _ = try port.wait(for: .transmit)
        continue
      }
      for _ in 0..<room {
        let content = Content(sender: sender, number: number)
        guard ring.append(length: 60, { content.write(to: &$0) }) else { break }
        number += 1
      }
      try port.sync(.transmit)
    }
    // Packets that a switch's receiver has no room for yet.
    while waitsForRoom, port.transmitRing(0).space < port.transmitRing(0).slotCount - 1 {
      _ = try port.wait(for: .transmit, timeout: .milliseconds(10))
      try port.sync(.transmit)
    }
    // A close does not wait for the receiver: sent packets stay in its ring.
    say("sent \(number)")
  }

  static func receive(
    _ port: NetmapPort, count: UInt64, _ progress: ReceiveProgress = ReceiveProgress(file: nil),
    mayMissSome: Bool = false
  ) throws {
    say("ready")
    var (received, senders) = (UInt64(0), UInt64(0))
    var last: Content?
    while count == 0 || received < count {
      _ = try port.wait(for: .receive)
      var ring = port.receiveRing(0)
      while count == 0 || received < count, let packet = ring.next() {
        // Slots that a sender had reserved when it was killed arrive empty.
        if mayMissSome, packet.bytes.byteCount == 0 { continue }
        guard let content = Content(packet.bytes) else { fail("damaged after \(received)") }
        if let before = last, before.sender == content.sender {
          guard content.number == before.number + 1 || mayMissSome && content.number > before.number
          else {
            fail("\(content.number) of \(content.sender) after \(before.number)")
          }
        } else {
          // The first sender may have begun earlier; later senders are seen from their first packet on.
          guard last == nil || content.number == 0 || mayMissSome else {
            fail("the first of sender \(content.sender) is \(content.number)")
          }
          senders += 1
        }
        last = content
        received += 1
        progress.hasSeen(content.number)
      }
    }
    try port.sync(.receive)
    say("received \(received) of \(senders), last \(last?.number ?? 0)")
  }

  /// Opens and closes an exclusive port, and checks that a second open fails each time.
  static func reopen(_ name: String, count: Int) throws {
    for _ in 0..<count {
      let port = try NetmapPort(name, engine: HostEngine.shared)
      if (try? NetmapPort(name, engine: HostEngine.shared)) != nil { fail("opened twice") }
      port.close()
    }
    say("reopened \(count)")
  }

  /// Checks that a fork(2) child cannot use the ports of its parent's embedded engine.
  static func forkEmbedded() throws {
    let engine = try EmbeddedEngine()
    let (a, b) = (
      try NetmapPort("netmap:p{1", engine: engine), try NetmapPort("netmap:p}1", engine: engine)
    )
    let child = clinux_fork()
    if child == 0 {
      do {
        try a.sync(.transmit)
        say("the child is not refused")
      } catch {
        say("the child is refused: \(error.code.name)")
      }
      _exit(0)
    }
    var status: CInt = 0
    guard unsafe waitpid(child, &status, 0) == child, status == 0 else { fail("the child failed") }
    try a.inject([1])
    try a.sync(.transmit)
    guard try b.wait(for: .receive, timeout: .seconds(5)) == .receive else {
      fail("the parent's pipe is broken")
    }
    say("the parent goes on")
  }

  static func say(_ text: String) {
    let bytes = [UInt8]((text + "\n").utf8)
    _ = unsafe write(1, bytes, bytes.count)
  }

  static func fail(_ text: String) -> Never {
    say("failed: \(text)")
    exit(1)
  }
}

/// The content of a packet.
struct Content {
  let sender: UInt64
  let number: UInt64

  private var check: UInt64 {
    (sender &* 0x9e37_79b9_7f4a_7c15) ^ (number &* 0xbf58_476d_1ce4_e5b9)
  }

  init(sender: UInt64, number: UInt64) {
    self.sender = sender
    self.number = number
  }

  /// Nil when the packet is damaged.
  init?(_ bytes: RawSpan) {
    guard bytes.byteCount == 60 else { return nil }
    unsafe sender = bytes.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
    unsafe number = bytes.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
    let found = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 52, as: UInt64.self)
    guard found == check else { return nil }
  }

  func write(to bytes: inout MutableRawSpan) {
    bytes.storeBytes(of: sender, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(of: number, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: check, toByteOffset: 52, as: UInt64.self)
  }
}
