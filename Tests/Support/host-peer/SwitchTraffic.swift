import Glibc
import Netmap
import Synchronization

// Stations on a switch, for tests of switch faults. Each station has a number, from which its address derives,
// and writes its counters to a board, a file that outlives the process:
//
// word 0: not 0 when senders must stop; word 1 + station: packets received; word 64 + station: packets sent.

extension HostPeer {
  /// Sends to each of some stations in turn until the board says stop, then stays until it is killed.
  ///
  /// - Parameters:
  ///   - port: The station's port.
  ///   - own: The station's number.
  ///   - targets: Numbers of stations; 255 for a broadcast.
  ///   - incarnation: A higher number than that of the previous process with this station.
  ///   - board: The file with the counters.
  ///   - pause: Microseconds after each batch.
  /// - Throws: The errors of the port's calls.
  static func sendToStations(
    _ port: NetmapPort, own: UInt8, targets: [UInt8], incarnation: UInt64, board: Board,
    pause: UInt32
  ) throws {
    var numbers = [UInt64](repeating: incarnation << 32, count: 256)
    var (next, sent) = (0, UInt64(0))
    try announce(port, own)
    say("ready")
    while board[0] == 0 {
      var ring = port.transmitRing(0)
      var room = min(ring.space, 16)
      guard room > 0 else {
        // The timeout is long: the receiver's end must wake this sender. It only bounds the wait for a stop
        // request.
        _ = try port.wait(for: .transmit, timeout: .seconds(60))
        continue
      }
      while room > 0 {
        let target = targets[next]
        next = next + 1 == targets.count ? 0 : next + 1
        let content = StationContent(sender: own, target: target, number: numbers[Int(target)])
        numbers[Int(target)] += 1
        guard ring.append(length: 60, { content.write(to: &$0) }) else { break }
        sent += 1
        room -= 1
      }
      try port.sync(.transmit)
      board[64 + Int(own)] = sent
      try dropReceived(port)
      if pause > 0 { usleep(pause) }
    }
    // Packets that wait for room leave when there is room.
    while port.transmitRing(0).space < port.transmitRing(0).slotCount - 1 {
      _ = try port.wait(for: .transmit, timeout: .milliseconds(10))
      try port.sync(.transmit)
    }
    say("sent \(sent)")
    while true {
      try dropReceived(port)
      usleep(1000)
    }
  }

  /// Discards received broadcasts.
  private static func dropReceived(_ port: NetmapPort) throws {
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    ring.skip()
  }

  /// Receives without end.
  ///
  /// Each packet must be undamaged, addressed to this station, and have a higher number than its sender's
  /// previous packet.
  static func listenAsStation(_ port: NetmapPort, own: UInt8, board: Board) throws {
    try announce(port, own)
    say("ready")
    var last = [UInt64](repeating: 0, count: 65_536)
    var received: UInt64 = 0
    while true {
      _ = try port.wait(for: .receive)
      var ring = port.receiveRing(0)
      while let packet = ring.next() {
        // Slots that a sender had reserved when it was killed arrive empty. Announcements are for the switch.
        if packet.bytes.byteCount == 0 { continue }
        received += 1
        if packet.bytes.byteCount == 61 { continue }
        guard let content = StationContent(packet.bytes) else { fail("damaged after \(received)") }
        let key = Int(content.sender) << 8 | Int(content.target)
        // Plus one, so that 0 means none.
        guard content.number + 1 > last[key] else {
          fail("\(content.number) of \(content.sender) to \(content.target) after \(last[key] - 1)")
        }
        last[key] = content.number + 1
      }
      // The ring counts these packets at the next sync, and the board counts them here, before their slots are
      // returned.
      board[1 + Int(own)] = received
    }
  }

  /// Sends from 2^20 random addresses, and from the station's address alternately on its own and another
  /// station's port.
  static func flap(_ ports: [NetmapPort], own: UInt8, count: Int) throws {
    say("ready")
    var state: UInt64 = 0x9e37_79b9
    var sent = 0
    while sent < count {
      for port in ports {
        var ring = port.transmitRing(0)
        let room = min(ring.space, 256)
        for place in 0..<room {
          state = state &* 6_364_136_223_846_793_005 &+ 1
          let source =
            place % 16 == 0
            ? StationContent.address(own) : 0x06 | (state >> 24 & 0xffff_ffff_ff) << 8
          guard
            ring.append(
              length: 61,
              {
                $0.storeBytes(
                  of: StationContent.address(own) | source << 48, toByteOffset: 0, as: UInt64.self)
                $0.storeBytes(
                  of: UInt32(truncatingIfNeeded: source >> 16), toByteOffset: 8, as: UInt32.self)
              })
          else { break }
        }
        sent += room
        try port.sync(.transmit)
      }
    }
    say("sent \(sent)")
  }

  /// Lets the switch learn the station's address from a frame of 61 bytes, which no counter includes.
  private static func announce(_ port: NetmapPort, _ own: UInt8) throws {
    try port.inject(StationContent.announcement(own))
    try port.sync(.transmit)
  }
}

/// A packet between stations.
struct StationContent {
  let sender: UInt8
  let target: UInt8
  let number: UInt64

  init(sender: UInt8, target: UInt8, number: UInt64) {
    self.sender = sender
    self.target = target
    self.number = number
  }

  private var check: UInt64 {
    (UInt64(sender) << 8 | UInt64(target)) &* 0x9e37_79b9_7f4a_7c15
      ^ (number &* 0xbf58_476d_1ce4_e5b9)
  }

  /// The station's address, with its first byte in the lowest bits.
  static func address(_ station: UInt8) -> UInt64 {
    station == 255 ? 0xffff_ffff_ffff : 0x02 | UInt64(station) << 40 | 0x77 << 16
  }

  static func announcement(_ station: UInt8) -> [UInt8] {
    let addresses = [address(255), address(station)].flatMap { address in
      (0..<6).map { UInt8(truncatingIfNeeded: address >> (8 * $0)) }
    }
    return addresses + [UInt8](repeating: 0, count: 49)
  }

  /// Nil when the packet is damaged.
  init?(_ bytes: RawSpan) {
    guard bytes.byteCount == 60 else { return nil }
    unsafe sender = bytes.unsafeLoad(fromByteOffset: 14, as: UInt8.self)
    unsafe target = bytes.unsafeLoad(fromByteOffset: 15, as: UInt8.self)
    unsafe number = bytes.unsafeLoadUnaligned(fromByteOffset: 16, as: UInt64.self)
    let found = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: 52, as: UInt64.self)
    guard found == check else { return nil }
  }

  func write(to bytes: inout MutableRawSpan) {
    let (to, from) = (Self.address(target), Self.address(sender))
    bytes.storeBytes(of: to | from << 48, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(
      of: UInt32(truncatingIfNeeded: from >> 16), toByteOffset: 8, as: UInt32.self)
    bytes.storeBytes(of: 0xb588, toByteOffset: 12, as: UInt16.self)
    bytes.storeBytes(of: sender, toByteOffset: 14, as: UInt8.self)
    bytes.storeBytes(of: target, toByteOffset: 15, as: UInt8.self)
    bytes.storeBytes(of: number, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: check, toByteOffset: 52, as: UInt64.self)
  }
}

/// Words of 64 bits in a file that processes share.
@safe
struct Board {
  private let words: UnsafeMutablePointer<Atomic<UInt64>>

  init(file: String) {
    let descriptor = unsafe open(file, O_RDWR | O_CLOEXEC)
    let memory = unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    guard descriptor >= 0, let memory = unsafe memory, unsafe memory != MAP_FAILED else {
      HostPeer.fail("\(file): errno \(errno)")
    }
    unsafe words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  subscript(index: Int) -> UInt64 {
    get { unsafe words[index & 511].load(ordering: .relaxed) }
    nonmutating set { unsafe words[index & 511].store(newValue, ordering: .relaxed) }
  }
}
