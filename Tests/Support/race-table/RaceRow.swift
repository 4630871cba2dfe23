import Netmap
import NetmapCore
import TableSupport

/// One reader of the table: an operation that loads words that other processes can write.
protocol RaceRow: Sendable {
  /// The name on the command line and in the table.
  var name: String { get }

  /// Values of words before the first operation, by the words' names.
  var presets: [String: UInt64] { get }

  /// Whether the shared memory is restored before each operation.
  ///
  /// What the kernel knows of a network interface cannot be restored. There, an operation begins where the one before
  /// has ended.
  var isRestored: Bool { get }

  /// Prepares the runner's process before the daemon starts.
  func prepareProcess() throws

  /// Opens and prepares ports. Runs in the process of the row.
  ///
  /// - Parameter engine: The engine of the row's daemon.
  /// - Returns: The operation.
  /// - Throws: An error when the ports cannot be prepared.
  func victim(_ engine: HostEngine) throws -> RaceOperation
}

extension RaceRow {
  var presets: [String: UInt64] { [:] }
  var isRestored: Bool { true }
  func prepareProcess() throws {}
}

/// The operation of a row, which is repeated without end.
///
/// The shared memory is restored before each repetition, so the operation begins in the same state each time.
struct RaceOperation {
  /// - Returns: A number that says what the operation has done, such as the number of packets.
  let run: () throws -> UInt64
}

/// Two pairs of ports beside the attacked ones, on a pipe and on a switch of their own.
final class RaceBystanders {
  private let pairs: [(sender: NetmapPort, receiver: NetmapPort)]
  private var number: UInt8 = 0
  private var count: UInt64 = 0

  /// The part of the names of their memory that no other memory has in its name.
  static let mark = "bystand"
  /// The switch that carries their packets, and no others.
  static let switchName = "vale9"

  init(_ engine: HostEngine) throws {
    pairs = try [
      ("netmap:bystand{1", "netmap:bystand}1"),
      ("\(Self.switchName):bystand0", "\(Self.switchName):bystand1"),
    ].map { names in
      (
        try NetmapPort("\(names.0)@conf:slots=64", engine: engine),
        try NetmapPort("\(names.1)@conf:slots=64", engine: engine)
      )
    }
  }

  /// Sends packets over each pair, and checks that exactly these arrive.
  ///
  /// - Returns: The number of packets so far.
  func exchange() throws -> UInt64 {
    for pair in pairs {
      try pair.sender.send(from: 9, number..<number + 2)
      let arrived = try pair.receiver.take()
      try expect(
        arrived == Arrival.all(9, number..<number + 2),
        "bystander \(pair.receiver.name): \(arrived)")
      count += 2
    }
    number = (number + 2) % 200
    return count
  }
}

extension NetmapPort {
  /// Reads all packets that the receive ring shows, and all of their bytes.
  ///
  /// - Parameter most: The slots of the ring, or more.
  /// - Returns: The number of packets, and a sum of their bytes in the upper half.
  /// - Throws: ``TableError`` when a packet is longer than a buffer, or when there are more packets than slots.
  func readAll(most: Int = 64) throws -> UInt64 {
    var (count, sum) = (UInt64(0), UInt32(0))
    var ring = receiveRing(0)
    while let packet = ring.next() {
      let bytes = packet.bytes
      guard bytes.byteCount <= 2048 else {
        throw TableError("a packet of \(bytes.byteCount) bytes")
      }
      for index in 0..<bytes.byteCount { sum &+= UInt32(bytes[index]) }
      count += 1
      // The ring has this many slots, whatever its words say.
      guard count <= most else { throw TableError("more packets than slots") }
    }
    return count | UInt64(sum) << 32
  }

  /// Takes all packets: a sync, the reads of ``readAll(most:)``, and the sync that returns the slots.
  func receiveAll(most: Int = 64) throws -> UInt64 {
    try sync(.receive)
    let count = try readAll(most: most)
    try sync(.receive)
    return count
  }
}
