import Glibc
import Synchronization

/// A file of counters that the attackers of a run and their runner have mapped.
package final class StormBoard: Sendable {
  private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>

  /// The counters of one attacker.
  package enum Counter: Int, CaseIterable, Sendable {
    case messages, connections, descriptors, answers
    /// Connections that the kernel or the daemon refused.
    case refusals
    /// The longest time between a request and its answer, nanoseconds.
    case worstAnswer
    /// The position of the attacker: ``StormPosition/number``.
    case position
    case deaths, stops, forks
    /// The number of the episode that comes next, for attackers in module hosts.
    case nextEpisode
    /// The process that makes the attack, and whether it has finished.
    case process, isDone
    /// The tag of a client that the attacker has, for other attackers.
    case tag
    /// How often it has sent a file whose close never ends.
    case hangs
    /// How often it got what it may not have.
    case breaches
  }

  package static let slotCount = 32
  private static let wordsPerSlot = 32
  private static let byteCount = slotCount * wordsPerSlot * 8

  /// Opens the file, and makes it when it does not exist.
  package init(_ path: String) throws {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard file >= 0 else { throw StormError("\(path): errno \(errno)") }
    defer { close(file) }
    _ = fchmod(file, 0o666)
    guard ftruncate(file, off_t(Self.byteCount)) == 0,
      let memory = mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0),
      memory != MAP_FAILED
    else { throw StormError("\(path): errno \(errno)") }
    words = memory.assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  private func word(_ slot: Int, _ counter: Counter) -> UnsafeMutablePointer<Atomic<UInt64>> {
    precondition(slot >= 0 && slot < Self.slotCount, "no such slot")
    return words + slot * Self.wordsPerSlot + counter.rawValue
  }

  package subscript(slot: Int, counter: Counter) -> UInt64 {
    get { word(slot, counter).pointee.load(ordering: .relaxed) }
    set { word(slot, counter).pointee.store(newValue, ordering: .relaxed) }
  }

  package func add(_ slot: Int, _ counter: Counter, _ count: Int = 1) {
    word(slot, counter).pointee.wrappingAdd(UInt64(count), ordering: .relaxed)
  }

  package func raise(_ slot: Int, _ counter: Counter, to value: UInt64) {
    if self[slot, counter] < value { self[slot, counter] = value }
  }

  /// A counter of all attackers together.
  package func sum(_ counter: Counter) -> UInt64 {
    (0..<Self.slotCount).reduce(0) { $0 &+ self[$1, counter] }
  }

  package func most(_ counter: Counter) -> UInt64 {
    (0..<Self.slotCount).reduce(0) { max($0, self[$1, counter]) }
  }

  package func clear() {
    for slot in 0..<Self.slotCount {
      for counter in Counter.allCases { self[slot, counter] = 0 }
    }
  }
}

/// A step of an attack: an attack consists of episodes, which begin without any connection.
package enum StormPosition {
  package static let stepsMax: UInt64 = 1000

  /// The number of a message, as it is printed.
  package static func number(episode: UInt64, step: UInt64) -> UInt64 {
    episode &* stepsMax &+ step
  }

  package static func episode(of number: UInt64) -> UInt64 { number / stepsMax }
}

package struct StormError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
