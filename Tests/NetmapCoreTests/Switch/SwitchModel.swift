/// The simplest model of a switch, which the real switch must match.
struct SwitchModel {
  /// A packet as it lies in a ring: the bytes of each slot.
  typealias Packet = [[UInt8]]

  struct Port {
    let index: Int
    /// Slots of the receive ring.
    let slots: Int
    /// Whether senders wait for room.
    let holds: Bool
    /// Bytes of virtio-net header, which are all 0.
    var header = 0
    var queue: [Packet] = []
    /// Packets in the transmit ring; `delivered` has the ports that have got the first one already, and -1
    /// once its delivery has begun.
    var pending: [Packet] = []
    var delivered: Set<Int> = []

    var held: Int { queue.reduce(0) { $0 + $1.count } }
    var counts = Counts()
  }

  struct Counts: Hashable {
    var sent = 0
    var broadcasts = 0
    var copies = 0
    var tooShort = 0
    var noDestination = 0
    /// Drops at the receive ring.
    var ringFull = 0
    var received = 0
  }

  /// Where a packet goes.
  private enum Way: Hashable {
    case nowhere(tooShort: Bool)
    case everybody
    case port(Int)
  }

  var ports: [Int: Port] = [:]
  private var addresses: [Address: Int] = [:]
  private var freeIndexes = Array((0..<254).reversed())

  mutating func attach(_ number: Int, slots: Int, holds: Bool) {
    ports[number] = Port(index: freeIndexes.removeLast(), slots: slots, holds: holds)
  }

  mutating func detach(_ number: Int) {
    guard let port = ports.removeValue(forKey: number) else { return }
    freeIndexes.append(port.index)
    // A switch is removed with its last port.
    if ports.isEmpty {
      addresses = [:]
      freeIndexes = Array((0..<254).reversed())
    }
  }

  /// One sync of a port's transmit ring.
  mutating func sync(_ number: Int) {
    guard let sender = ports[number], !sender.pending.isEmpty else { return }
    let ways = sender.pending.map { way(of: $0, from: sender) }
    let holders = ports.filter { $0.key != number && $0.value.holds }.map(\.value.index)
    let isOrdered =
      !sender.delivered.isEmpty
      || ways.contains { way in
        switch way {
        case .nowhere: false
        case .everybody: !holders.isEmpty
        case .port(let index): holders.contains(index)
        }
      }
    let taken = isOrdered ? deliverInOrder(number, ways) : deliverAll(number, ways)
    for way in ways.prefix(taken) {
      if case .nowhere(let tooShort) = way {
        if tooShort {
          ports[number]?.counts.tooShort += 1
        } else {
          ports[number]?.counts.noDestination += 1
        }
      }
    }
    ports[number]?.counts.sent += taken
    ports[number]?.pending.removeFirst(taken)
  }

  private mutating func way(of packet: Packet, from sender: Port) -> Way {
    let first = packet[0]
    let frame: ArraySlice<UInt8>
    if first.count > sender.header {
      frame = first[sender.header...]
    } else if first.count == sender.header, packet.count > 1 {
      frame = packet[1][...]
    } else {
      return .nowhere(tooShort: true)
    }
    guard frame.count >= 14 else { return .nowhere(tooShort: true) }
    func address(_ offset: Int) -> Address {
      (0..<6).reduce(0) { $0 | Address(frame[frame.startIndex + offset + $1]) << (8 * $1) }
    }
    let (target, source) = (address(0), address(6))
    if source & 1 == 0 { addresses[source] = sender.index }
    guard target & 1 == 0, let known = addresses[target] else { return .everybody }
    return known == sender.index ? .nowhere(tooShort: false) : .port(known)
  }

  // MARK: - Delivery

  /// Gives every port its packets, up to the first one without room.
  private mutating func deliverAll(_ number: Int, _ ways: [Way]) -> Int {
    let packets = ports[number]?.pending ?? []
    for (receiver, port) in ports where receiver != number {
      let own = zip(packets, ways).filter { $0.1 == .everybody || $0.1 == .port(port.index) }
      _ = deliver(own.map(\.0), to: receiver, from: number, holds: false)
    }
    countUnreachable(number, ways)
    let broadcasts = ways.count { $0 == .everybody }
    ports[number]?.counts.broadcasts += broadcasts
    let others = ports.count - 1
    ports[number]?.counts.copies += broadcasts * others
    return ways.count
  }

  /// Counts packets for indexes without a port.
  private mutating func countUnreachable(_ number: Int, _ ways: [Way]) {
    for case .port(let index) in ways where !ports.values.contains(where: { $0.index == index }) {
      ports[number]?.counts.noDestination += 1
    }
  }

  /// - Returns: The number of packets that are finished.
  private mutating func deliverInOrder(_ number: Int, _ ways: [Way]) -> Int {
    var place = 0
    if ports[number]?.delivered.isEmpty == false {
      guard resume(number, ways[0]) else { return 0 }
      place = 1
    }
    while place < ways.count {
      var end = place + 1
      while end < ways.count, ways[end] == ways[place] { end += 1 }
      let run = Array((ports[number]?.pending ?? [])[place..<end])
      let taken: Int
      switch ways[place] {
      case .nowhere: taken = run.count
      case .port(let index):
        if let receiver = ports.first(where: { $0.value.index == index }) {
          taken = deliver(run, to: receiver.key, from: number, holds: receiver.value.holds)
        } else {
          countUnreachable(number, Array(ways[place..<end]))
          taken = run.count
        }
      case .everybody: taken = flood(number, run)
      }
      if taken < run.count { return place + taken }
      place = end
    }
    return ways.count
  }

  private mutating func flood(_ number: Int, _ run: [Packet]) -> Int {
    let holders = ports.filter { $0.key != number && $0.value.holds }.map(\.key)
    guard holders.count <= 1 else {
      for (place, packet) in run.enumerated() where !floodOne(number, packet) { return place }
      return run.count
    }
    var taken = run.count
    if let holder = holders.first { taken = deliver(run, to: holder, from: number, holds: true) }
    for receiver in ports.keys where receiver != number && !holders.contains(receiver) {
      _ = deliver(Array(run.prefix(taken)), to: receiver, from: number, holds: false)
    }
    ports[number]?.counts.broadcasts += taken
    let others = ports.count - 1
    ports[number]?.counts.copies += taken * others
    return taken
  }

  private mutating func floodOne(_ number: Int, _ packet: Packet) -> Bool {
    var isComplete = true
    for (receiver, port) in ports where receiver != number && port.holds {
      if ports[number]?.delivered.contains(port.index) == true { continue }
      if deliver([packet], to: receiver, from: number, holds: true) == 1 {
        ports[number]?.delivered.insert(port.index)
        ports[number]?.counts.copies += 1
      } else {
        isComplete = false
      }
    }
    guard isComplete else {
      // The delivery has begun, even if no port has got the packet yet.
      ports[number]?.delivered.insert(-1)
      return false
    }
    for (receiver, port) in ports where receiver != number {
      if ports[number]?.delivered.contains(port.index) == true { continue }
      _ = deliver([packet], to: receiver, from: number, holds: false)
      ports[number]?.counts.copies += 1
    }
    ports[number]?.delivered = []
    ports[number]?.counts.broadcasts += 1
    return true
  }

  private mutating func resume(_ number: Int, _ way: Way) -> Bool {
    let packet = ports[number]?.pending.first ?? []
    switch way {
    case .everybody: return floodOne(number, packet)
    case .nowhere: break
    case .port(let index):
      if ports[number]?.delivered.contains(index) != true {
        if let receiver = ports.first(where: { $0.value.index == index }) {
          guard
            deliver([packet], to: receiver.key, from: number, holds: receiver.value.holds) == 1
          else { return false }
        } else {
          countUnreachable(number, [way])
        }
        ports[number]?.counts.copies += 1
      }
      ports[number]?.counts.broadcasts += 1
    }
    ports[number]?.delivered = []
    return true
  }

  /// Puts packets into a receive ring, up to the first one that does not fit.
  ///
  /// - Returns: The number of packets delivered or dropped.
  private mutating func deliver(
    _ packets: [Packet], to receiver: Int, from sender: Int, holds: Bool
  ) -> Int {
    guard let source = ports[sender]?.header, var port = ports[receiver] else { return 0 }
    defer { ports[receiver] = port }
    for (place, packet) in packets.enumerated() {
      let converted = Self.convert(packet, from: source, to: port.header)
      guard port.held + converted.count <= port.slots - 1 else {
        if holds { return place }
        port.counts.ringFull += packets.count - place
        return packets.count
      }
      port.queue.append(converted)
      port.counts.received += 1
    }
    return packets.count
  }

  /// The packet with another length of header. All headers are zeros.
  static func convert(_ packet: Packet, from source: Int, to target: Int) -> Packet {
    guard source != target else { return packet }
    let header = [UInt8](repeating: 0, count: target)
    let isApart = source > 0 && packet[0].count == source && packet.count > 1
    let data =
      isApart
      ? Array(packet.dropFirst()) : [Array(packet[0].dropFirst(source))] + packet.dropFirst()
    if target == 0 { return data }
    return isApart ? [header] + data : [header + data[0]] + data.dropFirst()
  }
}
