import Netmap
import NetmapTesting
import Synchronization
import Testing

@testable import tasks

@Suite("Waiting in tasks", .timeLimit(.minutes(15)))
struct AsyncTests {
  @Test("the example of two tasks runs")
  func example() async throws {
    try await Tasks.main()
  }

  @Test("a task that waits for packets resumes when they arrive, and not before")
  func arrival() async throws {
    let engine = try EmbeddedEngine()
    let sender = try NetmapPort("netmap:w{1", engine: engine)
    let receiver = try NetmapPort("netmap:w}1", engine: engine)
    let task = Task {
      let ready = try await receiver.wait(for: .receive)
      #expect(ready == .receive)
      var ring = receiver.receiveRing(0)
      return (first: ring.next()?.bytes[0], time: ContinuousClock.now)
    }
    try await Task.sleep(for: .milliseconds(50))
    let before = ContinuousClock.now
    try sender.inject([7])
    try sender.sync(.transmit)
    let result = try await task.value
    #expect(result.first == 7 && result.time >= before)
  }

  @Test("a wait ends after its timeout, with nothing ready; a timeout of zero does not suspend")
  func timeout() async throws {
    let pipe = try PipeFixture()
    let before = ContinuousClock.now
    let late = try await pipe.b.wait(for: .receive, timeout: .milliseconds(30))
    #expect(late == [])
    #expect(ContinuousClock.now - before >= .milliseconds(30))
    let atOnce = try await pipe.b.wait(for: .receive, timeout: .zero)
    #expect(atOnce == [])
  }

  @Test(
    "cancellation ends a wait, before it begins and while the task is suspended",
    arguments: [0, 30])
  func cancellation(_ delay: Int) async throws {
    let port = try NetmapPort("netmap:c{1", engine: EmbeddedEngine())
    let task = Task {
      await #expect(throws: CancellationError.self) { try await port.wait(for: .receive) }
      // The port is usable afterwards.
      port.close()
    }
    try await Task.sleep(for: .milliseconds(delay))
    task.cancel()
    await task.value
  }

  @Test("the sequence of moments ends when its task is canceled")
  func sequence() async throws {
    let engine = try EmbeddedEngine()
    let sender = try NetmapPort("netmap:s{1", engine: engine)
    let receiver = try NetmapPort("netmap:s}1", engine: engine)
    let counter = Counter()
    let task = Task {
      for try await ready in receiver.readiness {
        #expect(ready == .receive)
        var ring = receiver.receiveRing(0)
        counter.add(ring.forEach { _ in })
      }
    }
    for number in 0..<20 as Range<UInt8> {
      try sender.inject([number])
      try sender.sync(.transmit)
      await Task.yield()
    }
    let end = ContinuousClock.now + .seconds(10)
    while counter.value < 20, ContinuousClock.now < end {
      try await Task.sleep(for: .milliseconds(1))
    }
    task.cancel()
    try await task.value
    #expect(counter.value == 20)
  }

  @Test(
    "forEachBatch hands over every packet once, ends with what its body throws, and sends what it queues"
  )
  func batches() async throws {
    struct Enough: Error {}
    let engine = try EmbeddedEngine()
    let near = try NetmapPort("netmap:b{1", engine: engine)
    let far = try NetmapPort("netmap:b}1", engine: engine)
    let echo = Task {
      var count = 0
      do {
        try await far.forEachBatch { batch in
          batch.forEach { packet in
            count += 1
            try? far.inject([UInt8](packet))
          }
          if count == 100 {
            try far.sync(.transmit)
            throw Enough()
          }
        }
      } catch is Enough {}
      return count
    }
    var echoes: [[UInt8]] = []
    for number in 0..<100 as Range<UInt8> {
      try near.inject([number, 1])
      try await near.wait(for: .receive)
      var ring = near.receiveRing(0)
      ring.forEach { echoes.append([UInt8]($0)) }
    }
    let echoed = try await echo.value
    #expect(echoed == 100)
    while echoes.count < 100, try await near.wait(for: .receive, timeout: .seconds(5)) == .receive {
      var ring = near.receiveRing(0)
      ring.forEach { echoes.append([UInt8]($0)) }
    }
    #expect(echoes == (0..<100).map { [UInt8($0), 1] })
  }

  @Test("many tasks wait at once, each for its own port")
  func manyTasks() async throws {
    let engine = try EmbeddedEngine()
    let senders = try (0..<64).map { try NetmapPort("netmap:m\($0){1", engine: engine) }
    let tasks = (0..<64).map { index in
      Task {
        let port = try NetmapPort("netmap:m\(index)}1", engine: engine)
        try await port.wait(for: .receive)
        var ring = port.receiveRing(0)
        return ring.next()?.bytes[0]
      }
    }
    try await Task.sleep(for: .milliseconds(20))
    for (index, sender) in senders.enumerated() {
      try sender.inject([UInt8(index)])
      try sender.sync(.transmit)
    }
    for (index, task) in tasks.enumerated() {
      let number = try await task.value
      #expect(number == UInt8(index))
    }
  }

  @Test("a port that is closed refuses an asynchronous wait as it refuses a synchronous one")
  func closed() async throws {
    let pipe = try PipeFixture()
    pipe.b.close()
    let error = await #expect(throws: NetmapError.self) { try await pipe.b.wait(for: .receive) }
    #expect(error?.code == .badDescriptor)
  }
}

/// What tasks see of an interface that is removed.
@Suite("Waiting in tasks for an interface that is removed", .timeLimit(.minutes(15)))
struct RemovedInterfaceTests {
  /// Runs `use` on a port of an interface that is removed before `use` begins, or 30 ms later.
  private func removed<R: Sendable>(
    _ isEarly: Bool, _ use: @escaping @Sendable (NetmapPort) async throws -> R
  ) async throws -> R {
    let engine = try LoopbackEngine(interfaces: ["eth0"])
    let port = try NetmapPort("netmap:eth0", engine: engine)
    if isEarly { engine.remove("eth0") }
    let task = Task.detached { try await use(port) }
    if !isEarly {
      try await Task.sleep(for: .milliseconds(30))
      engine.remove("eth0")
    }
    return try await task.value
  }

  @Test(
    "the sequence of moments throws EIO", arguments: [true, false], [Readiness.receive, .transmit])
  func sequence(_ isEarly: Bool, _ wanted: Readiness) async throws {
    let error = try await removed(isEarly) { port in
      await #expect(throws: NetmapError.self) {
        for try await ready in port.readiness(for: wanted) {
          if ready.contains(.error) { break }
        }
      }
    }
    #expect(error?.code == .inputOutput)
  }

  @Test("forEachBatch throws EIO", arguments: [true, false])
  func batches(_ isEarly: Bool) async throws {
    let error = try await removed(isEarly) { port in
      await #expect(throws: NetmapError.self) { try await port.forEachBatch { _ in } }
    }
    #expect(error?.code == .inputOutput)
  }

  @Test("a wait returns .error, as the synchronous one does", arguments: [true, false])
  func wait(_ isEarly: Bool) async throws {
    let ready = try await removed(isEarly) { port in
      [
        try await port.wait(for: .receive), try await port.wait(for: .receive, timeout: .zero),
        waitAsThread(port),
      ]
    }
    #expect(ready == [.error, .error, .error])
  }

  @Test("a ring that was reset is an element of the sequence, and the loop goes on")
  func reset() async throws {
    let pipe = try PipeFixture()
    unsafe pipe.b.receiveRing(0).unsafeRing.head = 1 << 20
    var seen: [Readiness] = []
    for try await ready in pipe.b.readiness {
      seen.append(ready)
      if seen.count == 2 { break }
      _ = try pipe.a.send([1])
    }
    #expect(seen.first?.contains(.error) == true && seen.last == .receive)
  }
}

/// The synchronous wait, which a task cannot call by itself.
private func waitAsThread(_ port: NetmapPort) -> Readiness? {
  try? port.wait(for: .receive, timeout: .seconds(20))
}

/// A number that tasks change.
private final class Counter: Sendable {
  private let count = Atomic<Int>(0)

  var value: Int { count.load(ordering: .relaxed) }

  func add(_ number: Int) { count.add(number, ordering: .relaxed) }
}
