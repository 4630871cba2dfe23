import CNetmap
import Glibc
import Netmap
import NetmapClient
import NetmapCore
import Synchronization

/// Threads that store into shared words as fast as possible while other processes sync.
///
/// Words such as `1.r.hwtail=0|5000` select the targets: the end of the port, transmit or receive rings (`*`
/// for any), the word, and the values to store in turn. `@head` is a word of the netmap ring, `#len` a word of
/// each of its slots. `all` selects every word of the segment, with values that pass some checks.
enum Scribbling {
  @safe private struct Target: @unchecked Sendable {
    let address: UnsafeMutableRawPointer
    let width: Int
    let values: [UInt64]

    @inline(__always)
    func store(_ turn: Int) {
      let value = values[turn % values.count]
      switch width {
      case 2: unsafe address.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
      case 4: unsafe address.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
      default: unsafe address.storeBytes(of: value, as: UInt64.self)
      }
    }
  }

  /// The offsets and widths, in bytes, of the words.
  private static let places: [String: (offset: Int, width: Int)] = [
    "lock": (KRingLayout.lock, 8), "hwcur": (KRingLayout.hwcur, 4),
    "hwtail": (KRingLayout.hwtail, 4), "rhead": (KRingLayout.rhead, 4),
    "rcur": (KRingLayout.rcur, 4), "rtail": (KRingLayout.rtail, 4),
    "state": (KRingLayout.state, 4), "offsetMask": (KRingLayout.offsetMask, 8),
    "offsetMax": (KRingLayout.offsetMax, 8), "offsetGap": (KRingLayout.offsetGap, 8),
    "published": (KRingLayout.published, 4), "slotCount": (KRingLayout.slotCount, 4),
    "ringOffset": (KRingLayout.ringOffset, 8), "peerKRing": (KRingLayout.peerKRing, 8),
    "peerRingOffset": (KRingLayout.peerRingOffset, 8), "kind": (KRingLayout.kind, 4),
    "arriving": (KRingLayout.arriving, 8), "holdsSenders": (KRingLayout.holdsSenders, 4),
    "position": (KRingLayout.position, 4), "waitWord": (KRingLayout.waitWord, 4),
    "reservation": (KRingLayout.reservation, 8), "isOpen": (KRingLayout.isOpen, 4),
    "openRingOffset": (KRingLayout.openRingOffset, 8),
    "openOffsetMask": (KRingLayout.openOffsetMask, 8),
    "openOffsetMax": (KRingLayout.openOffsetMax, 8), "frameShape": (KRingLayout.frameShape, 8),
    "heldSenders": (KRingLayout.heldSenders, 8), "intent": (KRingLayout.intent, 8),
    "delivered": (KRingLayout.delivered, 8), "deliveredSlot": (KRingLayout.deliveredSlot, 4),
    "@head": (NETMAP_RING_HEAD_OFFSET, 4), "@cur": (NETMAP_RING_CUR_OFFSET, 4),
    "@tail": (NETMAP_RING_TAIL_OFFSET, 4), "@slots": (NETMAP_RING_NUM_SLOTS_OFFSET, 4),
    "#buf": (0, 4), "#len": (4, 2), "#flags": (6, 2), "#ptr": (8, 8),
  ]

  private static func find(
    _ words: String, _ segment: SyncSegment, _ region: SharedMemory
  ) throws -> [Target] {
    var result: [Target] = []
    for text in words.split(separator: ",") {
      if text == "all" {
        result += everything(segment)
        continue
      }
      let sides = text.split(separator: "=").map(String.init)
      let path = sides[0].split(separator: ".").map(String.init)
      guard sides.count == 2, path.count == 3, let place = places[path[2]] else {
        throw AttackError("\(text) is no word")
      }
      let values = sides[1].split(separator: "|").map { text in
        switch text {
        case "-1": UInt64.max
        case "last": UInt64(segment.buffers.count) - 1
        default: UInt64(text) ?? 0
        }
      }
      for end in 0..<segment.endCount where path[0] == "*" || path[0] == "\(end)" {
        for direction in Direction.allCases
        where path[1] == "*" || path[1] == (direction == .transmit ? "t" : "r") {
          for index in 0..<segment.ringCount(end: end, direction) {
            guard let ring = unsafe RingWords(segment, region, end, direction, index) else {
              continue
            }
            let (offset, width) = place
            if path[2].hasPrefix("#") {
              result += unsafe (0..<ring.slotCount).map {
                unsafe Target(address: ring.slot($0) + offset, width: width, values: values)
              }
            } else {
              let base = unsafe path[2].hasPrefix("@") ? ring.ring : ring.kring
              unsafe result.append(Target(address: base + offset, width: width, values: values))
            }
          }
        }
      }
    }
    return result
  }

  private static func everything(_ segment: SyncSegment) -> [Target] {
    let values: [UInt64] = [
      0, 1, 2, 5, .max, 0xffff_ffff, 1 << 63, 0x3ff_0000_03ff, 1 << 32, 7 << 32 | 9, 1 << 47,
    ]
    return stride(from: 0, to: segment.memory.byteCount, by: 8).map { offset in
      let turned = (0..<values.count).map { values[($0 + offset / 8) % values.count] }
      return unsafe Target(
        address: segment.memory.base + offset, width: 8, values: turned)
    }
  }

  /// Stores until the process ends.
  private static func start(_ targets: [Target], threads: Int) throws {
    guard !targets.isEmpty else { throw AttackError("there are no such words") }
    for first in 0..<threads {
      try EngineThread.start("scribbler") {
        var turn = first
        while true {
          for target in targets { target.store(turn) }
          turn &+= 1
        }
      }
    }
  }

  /// Opens a port, and overwrites its words while it sends and receives.
  static func own(_ name: String, _ flags: AskedFlags, _ words: String, threads: Int) throws {
    let connection = try DaemonConnection()
    let opened = try connection.register(
      RegisterRequest(name: try PortName(name), flags: flags.flags, extensions: flags.extensions))
    let registration = opened.registration
    let targets = try find(words, registration.segment, registration.region)
    let mapped = try opened.mapPort(connection)
    HostilePeer.say("ready")
    try start(targets, threads: threads)
    while true { drive(mapped) }
  }

  /// Opens a port on a switch, and overwrites the words of all other ports there.
  static func neighbours(_ name: String, _ words: String, threads: Int) throws {
    let client = try RawClient()
    let port = try client.register(name)
    let neighbours = try client.neighbours().filter { $0.index != Int(port.index) }
    let targets = try neighbours.flatMap { try find(words, $0.segment, $0.region) }
    HostilePeer.say("ready")
    try start(targets, threads: threads)
    withExtendedLifetime((client, port.token, neighbours)) { HostilePeer.waitForEnd() }
  }

  /// Sends as much as the rings have room for and drops received packets, whatever the rings contain.
  private static func drive(_ port: MappedPort) {
    for index in 0..<port.transmitCount {
      let ring = unsafe port.transmit(index)
      let view = unsafe ring.ring
      let tail = unsafe view.tail
      var place = unsafe view.head
      if unsafe tail < view.slotCount && place < view.slotCount {
        while place != tail {
          unsafe view.slot(place).pointee.length = 60
          place = unsafe view.next(place)
        }
        unsafe view.cur = tail
        unsafe view.head = tail
      }
      _ = unsafe ring.synchronizeTransmit([])
    }
    for index in 0..<port.receiveCount {
      let ring = unsafe port.receive(index)
      let tail = unsafe ring.ring.tail
      if unsafe tail < ring.ring.slotCount {
        unsafe ring.ring.cur = tail
        unsafe ring.ring.head = tail
      }
      _ = unsafe ring.synchronizeReceive([])
    }
    usleep(20)
  }

  /// Rewrites the slots of other senders on a switch so that they point elsewhere into the sender's memory, and
  /// checks whether such packets arrive.
  static func indirect(_ name: String, _ receiver: String, _ address: UInt64) throws {
    let client = try RawClient()
    let port = try client.register(name)
    let neighbours = try client.neighbours().filter { $0.index != Int(port.index) }
    var slots: [Target] = []
    for neighbour in neighbours {
      slots += try find(
        "0.t.#ptr=\(address),0.t.#len=64,0.t.#flags=\(NS_INDIRECT)", neighbour.segment,
        neighbour.region)
    }
    let ear = try NetmapPort(receiver, engine: HostEngine.shared)
    HostilePeer.say("ready")
    try start(slots, threads: 1)
    while true {
      try ear.wait(for: .receive, timeout: .milliseconds(100))
      var ring = ear.receiveRing(0)
      while let packet = ring.next() {
        guard packet.bytes.byteCount >= 16 else { continue }
        if (0..<4).map({ packet.bytes[$0] }) == [0x7f, 0x45, 0x4c, 0x46] {
          HostilePeer.say("got memory of a program")
          withExtendedLifetime((client, port.token)) { HostilePeer.waitForEnd() }
        }
      }
    }
  }

  /// Sends and receives on rings that others overwrite.
  ///
  /// The other processes must not be able to crash it.
  ///
  /// - Parameters:
  ///   - name: The port.
  ///   - header: Bytes of the virtio-net header of its packets, which have 8 slots each and ask for a checksum;
  ///     0 for none.
  /// - Throws: ``NetmapError`` when there is no such port.
  static func victim(_ name: String, header: Int) throws {
    let port = try NetmapPort(name, engine: HostEngine.shared)
    if header > 0 { try port.setVirtioNetHeader(header) }
    var frame: [UInt8] = [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 0x88, 0xb5]
    frame += [UInt8](repeating: 7, count: 1400)
    var first = [UInt8](repeating: 0, count: header) + frame
    if header > 0 { (first[0], first[6], first[8]) = (1, 14, 16) }
    HostilePeer.say("ready")
    var round = 0
    while true {
      round += 1
      var ring = port.transmitRing(0)
      if header > 0 {
        while ring.space > 8 {
          for part in 0..<8 {
            _ = unsafe ring.append(
              (part == 0 ? first : frame).span.bytes, flags: part < 7 ? .moreFragments : [])
          }
        }
      } else {
        for _ in 0..<32 { _ = unsafe ring.append(frame.span.bytes) }
      }
      // An error ends the port, but must not end the process.
      try? port.sync(.transmit)
      try? port.sync(.receive)
      var receive = port.receiveRing(0)
      while let packet = receive.next() { _ = packet.bytes.byteCount }
      if round % 8 == 0 { usleep(100) }
    }
  }
}
