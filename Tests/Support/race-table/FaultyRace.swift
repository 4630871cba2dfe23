import CNetmap
import Netmap
import Synchronization
import TableSupport

/// A reader that checks one load of a word and uses another one, for the test of the table itself.
struct FaultyRace: RaceRow {
  let name = "self-test"

  func victim(_ engine: HostEngine) throws -> RaceOperation {
    let port = try NetmapPort("netmap:raced{1@conf:slots=64", engine: engine)
    let layout = unsafe port.unsafeABI
    let ring = unsafe layout.memory + layout.interfaceOffset + layout.ringOffset(.transmit, 0)
    let head = unsafe (ring + NETMAP_RING_HEAD_OFFSET).assumingMemoryBound(to: Atomic<UInt32>.self)
    let table = [UInt64](0..<64)
    return RaceOperation {
      guard unsafe head.pointee.load(ordering: .relaxed) < 64 else { return 0 }
      let index = unsafe head.pointee.load(ordering: .relaxed)
      withExtendedLifetime(port) {}
      return table[Int(index)]
    }
  }
}
