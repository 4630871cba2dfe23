import Netmap
import NetmapCore
import TableSupport

extension ProgramMemory {
  /// Memory of a program with the objects of two ports, or of a pipe, and no others: what follows the last buffer is the
  /// spare page.
  static let ofTwoPorts: ProgramMemory = {
    let objects = RegionParameters(
      interfaceSize: 1024, interfaceCount: 4, ringSize: 256 + 16 * EnginePort.slots, ringCount: 4,
      bufferSize: 2048, bufferCount: 4 * EnginePort.slots + 2)
    let pools = [
      objects.interfaceCount * objects.interfaceSize, objects.ringCount * objects.ringSize,
      objects.bufferCount * objects.bufferSize,
    ]
    return ProgramMemory(byteCount: pools.map(pageRounded).reduce(0, +), objects: objects)
  }()
}

/// A sync of a port whose region lies in a program's memory (`NETMAP_REQ_OPT_EXTMEM`): its objects have exactly the sizes
/// that the program has asked for, and packets have no headroom.
struct ProgramMemoryRace: RaceRow {
  let name: String
  let sender: String
  let receiver: String
  /// Whether the operation is the sender's.
  let isSender: Bool

  static let all = [
    ProgramMemoryRace(
      name: "program's memory: pipe tx", sender: "raced{1", receiver: "raced}1",
      isSender: true),
    ProgramMemoryRace(
      name: "program's memory: pipe rx", sender: "raced{1", receiver: "raced}1",
      isSender: false),
    ProgramMemoryRace(
      name: "program's memory: vale tx", sender: "vale7:raced", receiver: "vale7:other",
      isSender: true),
    ProgramMemoryRace(
      name: "program's memory: vale rx", sender: "vale7:other", receiver: "vale7:raced",
      isSender: false),
  ]

  func victim(_ host: HostEngine) throws -> RaceOperation {
    let engine = try Engine()
    let sender = try EnginePort(engine, sender, memory: .ofTwoPorts)
    // The other end of a pipe is in the same region.
    let receiver = try EnginePort(
      engine, receiver, memory: receiver.hasPrefix("vale") ? .ofTwoPorts : nil)
    if isSender {
      sender.fill(3)
      return RaceOperation {
        let result = unsafe sender.mapped.transmit(0).synchronizeTransmit([])
        withExtendedLifetime(receiver) {}
        return result == .done ? 1 : 0
      }
    }
    sender.send(3)
    return RaceOperation {
      receiver.drain()
      let ring = unsafe receiver.mapped.receive(0).ring
      withExtendedLifetime(sender) {}
      return UInt64(unsafe ring.head)
    }
  }
}
