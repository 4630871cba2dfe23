import Glibc
import NetmapCore
import NetmapTestSupport
import Synchronization
import Testing

@testable import Netmap

/// What `forward` leaves behind when its process is killed, at whichever instruction.
///
/// A thread that forwards is stopped by a signal at random instructions. What is in shared memory then is
/// what a kill would have left; the repair is tried on a copy of it.
@Suite("Forwarding and kills", .serialized)
struct ForwardKillTests {
  /// 0: the thread runs. 1: it is held.
  private static let hold = Atomic<UInt32>(0)

  private static func installHandler() {
    var action = sigaction()
    unsafe action.__sigaction_handler.sa_handler = { _ in
      ForwardKillTests.hold.store(1, ordering: .sequentiallyConsistent)
      while ForwardKillTests.hold.load(ordering: .sequentiallyConsistent) != 0 { sched_yield() }
    }
    action.sa_flags = SA_RESTART
    _ = unsafe sigaction(SIGUSR1, &action, nil)
  }

  @Test(
    "each packet is in one ring, and each buffer in one slot, at whichever instruction it stops")
  func everyInstruction() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64.random(in: 1...99_999)
    print("ForwardKillTests: NETMAP_TEST_SEED=\(seed)")
    var random = SeededGenerator(seed: seed)
    Self.hold.store(0, ordering: .relaxed)
    Self.installHandler()
    let engine = try EmbeddedEngine()
    let options = "@conf:slots=16"
    nonisolated(unsafe) let feeder = try Port("netmap:t{1\(options)", engine: engine)
    nonisolated(unsafe) let source = try Port("netmap:t}1\(options)", engine: engine)
    nonisolated(unsafe) let target = try Port("netmap:t{2\(options)", engine: engine)
    nonisolated(unsafe) let sink = try Port("netmap:t}2\(options)", engine: engine)
    let isDone = Atomic(false)
    let hasEnded = Atomic(false)
    let handle = Atomic<UInt>(0)
    DetachedThread {
      handle.store(UInt(pthread_self()), ordering: .releasing)
      unsafe Self.move(feeder, source, target, sink, until: isDone)
      hasEnded.store(true, ordering: .releasing)
    }
    while handle.load(ordering: .acquiring) == 0 { usleep(100) }
    let thread = pthread_t(handle.load(ordering: .acquiring))
    var inside = 0
    var stages: Set<String> = []
    let clock = ContinuousClock()
    let end = clock.now + .seconds(20)
    while inside < 1000, clock.now < end {
      usleep(.random(in: 0..<20, using: &random))
      pthread_kill(thread, SIGUSR1)
      while Self.hold.load(ordering: .sequentiallyConsistent) != 1 { sched_yield() }
      if let stage = unsafe Self.inspect(
        source.attached.receive(0), target.attached.transmit(0))
      {
        inside += 1
        stages.insert(stage)
      }
      Self.hold.store(0, ordering: .sequentiallyConsistent)
    }
    isDone.store(true, ordering: .relaxed)
    while !hasEnded.load(ordering: .acquiring) { usleep(100) }
    print("ForwardKillTests: \(inside) stops inside, \(stages.sorted())")
    #expect(inside > 20)
  }

  /// Numbers packets, passes them on, and takes them; each once, in order.
  private static func move(
    _ feeder: Port, _ source: Port, _ target: Port, _ sink: Port,
    until isDone: borrowing Atomic<Bool>
  ) {
    var (next, expected) = (UInt64(0), UInt64(0))
    while !isDone.load(ordering: .relaxed) {
      var free = feeder.transmitRing(0)
      free.append(upTo: 15, length: 60) { _, bytes in
        bytes.storeBytes(of: next, as: UInt64.self)
        next += 1
      }
      try? feeder.sync(.transmit)
      try? source.sync(.receive)
      var input = source.receiveRing(0)
      var output = target.transmitRing(0)
      input.forward(to: &output)
      try? target.sync(.transmit)
      try? sink.sync(.receive)
      var arrived = sink.receiveRing(0)
      arrived.forEach { packet in
        let number = unsafe packet.bytes.unsafeLoadUnaligned(as: UInt64.self)
        if number != expected { Issue.record("\(number) in place of \(expected)") }
        expected += 1
      }
      try? sink.sync(.receive)
      try? target.sync(.transmit)
    }
  }

  /// Repairs a copy of the two rings, and looks at it.
  ///
  /// - Returns: How far an exchange had come; nil when none was under way.
  private static func inspect(_ source: AttachedRing, _ target: AttachedRing) -> String? {
    guard let batch = unsafe source.kring.exchangeNote.batch else { return nil }
    let rings = unsafe [source.ring, target.ring]
    let copies = unsafe rings.map { ring in
      let bytes = unsafe 256 + 16 * Int(ring.slotCount)
      let copy = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 128)
      unsafe copy.copyMemory(from: ring.base, byteCount: bytes)
      return unsafe Ring(
        base: copy, buffers: ring.buffers, slotCount: ring.slotCount,
        bufferCount: ring.bufferCount, bufferSize: ring.bufferSize)
    }
    let noteBytes = UnsafeMutableRawPointer.allocate(byteCount: 32, alignment: 8)
    defer {
      unsafe copies[0].base.deallocate()
      unsafe copies[1].base.deallocate()
      unsafe noteBytes.deallocate()
    }
    let note = unsafe ExchangeNote(base: noteBytes)
    let (from, to) = unsafe (copies[0], copies[1])
    func buffers() -> [UInt32] {
      unsafe copies.flatMap { ring in
        unsafe (0..<ring.slotCount).map { unsafe ring.load($0).bufferIndex }
      }
    }
    let distinct = Set(buffers()).count
    let hasMoved = unsafe to.head != batch.second
    let stage =
      distinct < 32
      ? "both have it" : hasMoved ? "published" : "between pairs"
    for _ in 0..<2 {
      unsafe note.finish(batch, from: from, to: to)
      let found = buffers()
      #expect(Set(found).count == found.count, "\(stage): \(batch)")
      // What the transmit ring has to send, then what the receive ring still has.
      var numbers: [UInt64] = []
      func collect(_ ring: Ring, _ first: UInt32, _ end: UInt32) {
        var index = first
        while index != end {
          let buffer = unsafe ring.buffer(ring.load(index).bufferIndex)
          numbers.append(unsafe buffer.loadUnaligned(as: UInt64.self))
          index = unsafe ring.next(index)
        }
      }
      unsafe collect(to, batch.second, to.head)
      unsafe collect(from, from.head, from.tail)
      #expect(numbers.count == 15, "\(stage): \(batch)")
      for (number, after) in zip(numbers, numbers.dropFirst()) {
        #expect(after == number + 1, "\(stage): \(numbers), \(batch)")
      }
    }
    return stage
  }
}
