import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// Number of times that each fault is tried: `NETMAP_FAULT_ROUNDS`, by default 200.
let faultRounds = Int(environmentNumber("NETMAP_FAULT_ROUNDS") ?? 200)

/// Time limit of a test in minutes.
let faultMinutes = max(15, faultRounds / 40)

/// A generator of random numbers for one test.
///
/// Prints its seed; `NETMAP_TEST_SEED` repeats a run.
func seededGenerator(_ test: String) -> (seed: UInt64, generator: SeededGenerator) {
  let seed = environmentNumber("NETMAP_TEST_SEED") ?? UInt64(wallClockSeconds())
  print("\(test): seed \(seed)")
  return (seed, SeededGenerator(seed: seed))
}

/// A pipe of this process, which shows that other processes are not affected.
struct Bystander {
  let a: NetmapPort
  let b: NetmapPort
  private(set) var passed = 0

  init(_ fixture: DaemonFixture, _ name: String = "by") throws {
    let engine = try fixture.engine()
    (a, b) = try fixture.besideOthers { () throws(NetmapError) in
      (
        try NetmapPort("netmap:\(name){1", engine: engine),
        try NetmapPort("netmap:\(name)}1", engine: engine)
      )
    }
  }

  /// Sends numbered packets through the pipe, and expects each of them.
  mutating func pass(_ count: Int = 3, _ context: @autoclosure () -> String = "") throws {
    for _ in 0..<count {
      let number = UInt8(truncatingIfNeeded: passed)
      try a.inject([number, 1, 2])
      try a.sync(.transmit)
      try #require(
        try b.wait(for: .receive, timeout: .seconds(20)) == .receive, "\(context()): no packet")
      var ring = b.receiveRing(0)
      var found: (count: Int, first: UInt8)?
      if let packet = ring.next() { found = (packet.bytes.byteCount, packet.bytes[0]) }
      #expect(found?.count == 3 && found?.first == number, "\(context())")
      passed += 1
    }
    try b.sync(.receive)
    try a.sync(.transmit)
  }
}

extension DaemonFixture {
  /// Waits until the receiver of a pipe has taken all packets from the ring of the sender's end.
  func expectDrained(_ name: String, _ context: @autoclosure () -> String) throws {
    let probe = try NetmapPort("netmap:\(name)", engine: try engine())
    let patience = ContinuousClock.now + .seconds(20)
    while ContinuousClock.now < patience {
      try probe.sync(.transmit)
      let ring = probe.transmitRing(0)
      if ring.space == ring.slotCount - 1 { return }
      usleep(1000)
    }
    Issue.record("\(context()): the receiver stopped receiving")
  }

  /// Waits until `count` ports are open and the daemon keeps no others; then expects no findings.
  ///
  /// This takes some time. A program that another test starts has, for a moment, a copy of every descriptor,
  /// including tokens. A daemon without free descriptors may not have reclaimed the descriptors of closed ports
  /// yet.
  func expectOpen(_ count: Int, _ context: @autoclosure () -> String) throws {
    for _ in 0..<20_000 {
      if let check = try? engine().check(), check.bindings == count, check.kept == 0 { break }
      usleep(1000)
    }
    let check = try expectSound(context())
    #expect(check.bindings == count && check.kept == 0, "\(context()): \(check)")
  }

  /// Waits until the daemon has no more descriptors than before.
  func expectDescriptors(_ before: Int, _ context: @autoclosure () -> String) throws {
    for _ in 0..<5000 where try daemonDescriptors() > before { usleep(1000) }
    let left = try daemonDescriptors()
    #expect(left <= before, "\(context()): \(describeDescriptors())")
  }

  /// Waits until no port is open and the daemon keeps none.
  func expectEmpty(_ context: @autoclosure () -> String) throws {
    try expectOpen(0, context())
    let check = try expectSound(context())
    #expect(check.report.regions == 0, "\(context()): \(check)")
  }
}

/// The progress of a receiver, which outlives it; see host-peer's `ReceiveProgress`.
@safe
final class ReceiverFile {
  let path: String
  private let words: UnsafeMutablePointer<UInt64>

  init(_ fixture: DaemonFixture) throws {
    path = "\(fixture.folder)/progress"
    let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0 && ftruncate(file, 4096) == 0)
    let memory = unsafe try #require(
      unsafe mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0))
    close(file)
    unsafe words = memory.assumingMemoryBound(to: UInt64.self)
  }

  deinit {
    unsafe munmap(words, 4096)
    unsafe unlink(path)
  }

  /// The numbers, plus one, of the first and the last packet that the receiver has seen.
  var progress: (first: UInt64, seen: UInt64) {
    unsafe (words[0], words[1])
  }

  func forget() {
    for index in 0..<2 { unsafe words[index] = 0 }
  }
}
