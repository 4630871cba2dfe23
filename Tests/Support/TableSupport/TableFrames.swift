package import Netmap

/// Packets of the table: 60 bytes, with the sender and a number, which determine every other byte.
package enum TableFrame {
  package static let victim: UInt8 = 0x77
  package static let length = 60

  /// The Ethernet address of a station; `nil` is the broadcast address.
  package static func address(_ station: UInt8?) -> [UInt8] {
    guard let station else { return [UInt8](repeating: 255, count: 6) }
    return [2, 0, 0, 0, 0, station]
  }

  package static func bytes(
    from sender: UInt8, _ number: UInt8, to target: UInt8? = nil, source: UInt8? = nil
  ) -> [UInt8] {
    address(target) + address(source ?? sender) + [0x88, 0xb5, sender, number]
      + [UInt8](repeating: sender ^ number, count: length - 16)
  }
}

/// The identity of a packet that has arrived.
package struct Arrival: Hashable, CustomStringConvertible {
  package let sender: UInt8
  package let number: UInt8

  package init(_ sender: UInt8, _ number: UInt8) {
    (self.sender, self.number) = (sender, number)
  }

  package var description: String {
    "\(sender == TableFrame.victim ? "victim" : "\(sender)").\(number)"
  }

  /// Packets of one sender, by number.
  package static func all(_ sender: UInt8, _ numbers: Range<UInt8>) -> [Arrival] {
    numbers.map { Arrival(sender, $0) }
  }
}

extension NetmapPort {
  /// Queues numbered packets and sends them.
  package func send(
    from sender: UInt8, _ numbers: Range<UInt8>, to target: UInt8? = nil
  ) throws {
    for number in numbers { try inject(TableFrame.bytes(from: sender, number, to: target)) }
    try sync(.transmit)
  }

  /// Takes and checks all packets that have arrived.
  ///
  /// Empty packets are slots that dead senders had reserved.
  package func take() throws -> [Arrival] {
    try sync(.receive)
    var result: [Arrival] = []
    do {
      var ring = receiveRing(0)
      while let packet = ring.next() {
        let bytes = packet.bytes
        guard bytes.byteCount > 0 else { continue }
        try expect(bytes.byteCount == TableFrame.length, "\(name): \(bytes.byteCount) bytes")
        let (sender, number) = (bytes[14], bytes[15])
        for index in 16..<TableFrame.length where bytes[index] != sender ^ number {
          throw TableError("\(name): packet \(sender).\(number) is damaged at byte \(index)")
        }
        result.append(Arrival(sender, number))
      }
    }
    try sync(.receive)
    return result
  }
}

/// Checks that the victim's packets are the first ones that it sent, in order, and that all others have arrived.
///
/// - Parameters:
///   - arrived: What one receiver has got.
///   - others: The packets of other senders, in the order of each sender.
///   - most: The number of packets that the victim sent.
///   - all: Whether all of them must have arrived.
///   - name: The receiver's name.
/// - Throws: ``TableError`` when something else has arrived.
package func expectExact(
  _ arrived: [Arrival], others: [[Arrival]], most: UInt8, all: Bool, _ name: String
) throws {
  let own = arrived.filter { $0.sender == TableFrame.victim }
  try expect(
    own == Arrival.all(TableFrame.victim, 0..<UInt8(truncatingIfNeeded: own.count))
      && own.count <= Int(most) && (!all || own.count == Int(most)),
    "\(name): the victim's packets: \(arrived)")
  for list in others {
    guard let first = list.first else { continue }
    let found = arrived.filter { $0.sender == first.sender }
    try expect(found == list, "\(name): of sender \(first.sender): \(arrived)")
  }
  try expect(
    arrived.count == own.count + others.reduce(0) { $0 + $1.count }, "\(name): \(arrived)")
}
