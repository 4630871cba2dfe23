import CNetmap
import Glibc
import NetmapRequests
import NetmapTestSupport
import Testing

/// Random requests in memory with holes. `NETMAP_TEST_SEED` repeats a run.
@Suite("Random requests")
struct RequestFuzzTests {
  static let commands: [UInt64] = [
    0xc058_6997, 0xc03c_6991, 0xc03c_6992, 0xc110_6996, 0x6994, 0x6995, 0xffff_ffff_c058_6997,
  ]
  static let refusals = [EBUSY, ENXIO, ENOMEM, EINVAL, EOPNOTSUPP, EFAULT, EIO]
  /// What the layer gives by itself.
  static let own: Set<Int32> = [0, EINVAL, EFAULT, EMSGSIZE, EOPNOTSUPP, ENOMEM]

  @Test("random bytes never make the layer trap, and do what the model says")
  func randomBytes() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64(wallClockSeconds())
    print("RequestFuzz.randomBytes: NETMAP_TEST_SEED=\(seed)")
    var generator = SeededGenerator(seed: seed)
    var seen: [Int32: Int] = [:]
    for round in 0..<3_000 {
      let memory = SimulatedMemory(byteCount: 8 * 256, lastByteCount: 2 * 256)
      for index in memory.windows.indices {
        for place in memory.windows[index].bytes.indices {
          memory.windows[index].bytes[place] = UInt8.random(in: 0...255, using: &generator)
        }
      }
      generator.punchHoles(in: memory, percent: 20)
      let argument = generator.address(in: memory)
      // Mostly a version that is accepted, so that more than the version is tested.
      if generator.chance(80) { memory.put([14, 0], at: argument) }
      if generator.chance(80) { memory.put([UInt8](repeating: 0, count: 4), at: argument &+ 4) }
      let command =
        generator.chance(90)
        ? Self.commands[Int.random(in: 0..<Self.commands.count, using: &generator)]
        : UInt64.random(in: 0 ... .max, using: &generator)
      let result = try compare(memory, command, argument, &generator, "seed \(seed) round \(round)")
      seen[result, default: 0] += 1
    }
    print("RequestFuzz.randomBytes: \(seen.sorted { $0.key < $1.key })")
  }

  @Test("random well-formed requests do what the model says: result, memory and calls")
  func structuredRequests() throws {
    let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64(wallClockSeconds())
    print("RequestFuzz.structuredRequests: NETMAP_TEST_SEED=\(seed)")
    var generator = SeededGenerator(seed: seed)
    var seen: [Int32: Int] = [:]
    for round in 0..<6_000 {
      let memory = SimulatedMemory(byteCount: 32 * 256, lastByteCount: 2 * 256)
      let argument = generator.address(in: memory)
      let command: UInt64
      if generator.chance(75) {
        command = 0xc058_6997
        generator.putControl(in: memory, at: argument)
      } else {
        command = generator.chance(50) ? 0xc03c_6991 : 0xc03c_6992
        generator.putLegacy(in: memory, at: argument)
      }
      if generator.chance(50) { generator.punchHoles(in: memory, percent: 4) }
      let result = try compare(memory, command, argument, &generator, "seed \(seed) round \(round)")
      seen[result, default: 0] += 1
    }
    print("RequestFuzz.structuredRequests: \(seen.sorted { $0.key < $1.key })")
    // The requests are not all refused by the first check.
    #expect(seen[0, default: 0] > 300)
    for code in [EINVAL, EFAULT, EMSGSIZE, EOPNOTSUPP] { #expect(seen[code, default: 0] > 30) }
  }

  /// Performs a request and its model on equal memories, and compares what they have done.
  private func compare(
    _ memory: SimulatedMemory, _ command: UInt64, _ argument: UInt64,
    _ generator: inout SeededGenerator, _ which: String
  ) throws -> Int32 {
    let server = RecordingServer()
    if generator.chance(25) {
      let code = Self.refusals[Int.random(in: 0..<Self.refusals.count, using: &generator)]
      server.refusal = RequestErrno(rawValue: code)
      if generator.chance(50) { server.status = .refused(RequestErrno(rawValue: code)) }
    }
    if generator.chance(30) {
      server.recognized = .init(rawValue: Int.random(in: 0..<32, using: &generator))
    }
    if generator.chance(50) { server.listAnswer.name = RequestName("vale0:some_port_name".utf8) }
    let copy = SimulatedMemory(copying: memory)
    let layer = RequestLayer(memory: memory, server: server)
    let result = layer.perform(UInt(command), argument)?.rawValue ?? 0
    var model = RequestModel(memory: copy, server: server)
    let expected = model.ioctl(command, argument)
    #expect(result == expected, "\(which)")
    #expect(server.log == model.log, "\(which)")
    let difference = memory.firstDifference(from: copy)
    #expect(difference == nil, "\(which): the first byte that differs")
    let isKnown = Self.own.contains(result) || result == server.refusal?.rawValue
    #expect(isKnown, "\(which)")
    try #require(result == expected && difference == nil, "\(which)")
    return result
  }
}

extension SeededGenerator {
  /// An address that is likely to mean something.
  fileprivate mutating func address(in memory: SimulatedMemory) -> UInt64 {
    let window = memory.windows[chance(85) ? 0 : 1]
    let inside = window.base &+ UInt64.random(in: 0..<UInt64(window.bytes.count), using: &self)
    switch Int.random(in: 0..<100, using: &self) {
    case 0..<2: return 0
    case 2..<4: return UInt64.random(in: 0 ... .max, using: &self)
    case 4..<7: return window.base &- UInt64.random(in: 0...64, using: &self)
    case 7..<10:
      return window.base &+ UInt64(window.bytes.count) &- UInt64.random(in: 0...100, using: &self)
    default: return inside
    }
  }

  fileprivate mutating func punchHoles(in memory: SimulatedMemory, percent: Int) {
    for window in memory.windows.indices {
      for page in memory.windows[window].pages.indices where chance(percent) {
        memory.windows[window].pages[page] = chance(50) ? .absent : .readOnly
      }
    }
  }

  private mutating func mostly<T>(_ usual: T, _ percent: Int, _ other: (inout Self) -> T) -> T {
    chance(percent) ? usual : other(&self)
  }

  /// Lays out a control request: mostly one that is in order, with a list of options.
  fileprivate mutating func putControl(in memory: SimulatedMemory, at address: UInt64) {
    var header = nmreq_header()
    header.nr_version = mostly(14, 90) { UInt16.random(in: 11...17, using: &$0) }
    header.nr_reqtype = mostly(1, 30) { UInt16.random(in: 0...17, using: &$0) }
    header.nr_reserved = mostly(0, 96) { UInt32.random(in: 0 ... .max, using: &$0) }
    let size = RequestType(rawValue: header.nr_reqtype)?.bodyByteCount ?? 0
    let body = self.address(in: memory)
    header.nr_body = mostly(size == 0 ? 0 : body, 95) { size == 0 ? $0.address(in: memory) : 0 }
    header.nr_options = mostly(0, 25) { $0.putOptions(in: memory) }
    var bytes = (0..<size).map { _ in chance(60) ? 0 : UInt8.random(in: 0...255, using: &self) }
    if header.nr_reqtype == 6 {
      bytes = [mostly(12, 70) { UInt8.random(in: 0...13, using: &$0) }, 0, 0, 0, 0, 0, 0, 0]
    }
    memory.put(bytes, at: body)
    put(header, in: memory, at: address)
    memory.put(
      (0..<64).map { _ in chance(3) ? 0 : UInt8.random(in: 1...255, using: &self) },
      at: address &+ 8)
  }

  /// Lays out a list of options, and returns the address of the first.
  private mutating func putOptions(in memory: SimulatedMemory) -> UInt64 {
    let count = mostly(Int.random(in: 1...4, using: &self), 80) {
      Int.random(in: 1...135, using: &$0)
    }
    // A few long lists have the unknown types that do not end them.
    let known = count < 8 ? 70 : 2
    var next: UInt64 = mostly(0, 90) { $0.address(in: memory) }
    var first: UInt64 = 0
    var addresses: [UInt64] = []
    for _ in 0..<count {
      var option = nmreq_option()
      option.nro_reqtype =
        chance(known)
        ? UInt32.random(in: 1...5, using: &self) : mostly(1234, 97) { $0.chance(50) ? 0 : .max }
      option.nro_status = UInt32.random(in: 0 ... .max, using: &self)
      option.nro_size = mostly(UInt64.random(in: 0...100, using: &self), 80) {
        $0.chance(60)
          ? UInt64.random(in: $0.chance(50) ? 3900...4100 : 0...4100, using: &$0)
          : UInt64.random(in: 0 ... .max, using: &$0)
      }
      option.nro_next = next
      first = self.address(in: memory)
      put(option, in: memory, at: first)
      addresses.append(first)
      next = first
    }
    // A circle.
    if chance(5), let last = addresses.first { memory.put(littleEndian(first), at: last) }
    return first
  }

  /// Lays out a legacy request: mostly one that is in order.
  fileprivate mutating func putLegacy(in memory: SimulatedMemory, at address: UInt64) {
    memory.put((0..<60).map { _ in UInt8.random(in: 0...255, using: &self) }, at: address)
    let version: UInt32 = mostly(14, 85) { UInt32.random(in: 10...20, using: &$0) }
    put(version, in: memory, at: address &+ 16)
    let command: UInt16 = mostly(UInt16.random(in: 0...13, using: &self), 95) {
      UInt16.random(in: 0 ... .max, using: &$0)
    }
    put(command, in: memory, at: address &+ 42)
    if chance(50) { put(UInt16(10), in: memory, at: address &+ 44) }
  }

  private func put<T: BitwiseCopyable>(_ value: T, in memory: SimulatedMemory, at address: UInt64) {
    memory.put(unsafe withUnsafeBytes(of: value) { unsafe [UInt8]($0) }, at: address)
  }

  private func littleEndian(_ value: UInt64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}
