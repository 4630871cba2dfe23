import Glibc
import Netmap
import NetmapTestSupport
import Testing

@Suite("Control blocks", .timeLimit(.minutes(5)))
struct ControlBlockModeTests {
  /// Two arrays of control blocks for a transmit ring and a receive ring.
  @safe
  private final class Blocks: @unchecked Sendable {
    /// The layout of `struct nm_csb_atok` and `struct nm_csb_ktoa`: bytes of an entry, and offsets of words.
    private static let entry = 64
    private static let (head, cur, hwtail) = (0, 4, 4)
    private static let size = 2 * entry
    let requests: UnsafeMutableRawPointer
    let answers: UnsafeMutableRawPointer

    init() {
      unsafe requests = .allocate(byteCount: Self.size, alignment: 64)
      unsafe answers = .allocate(byteCount: Self.size, alignment: 64)
    }

    deinit {
      unsafe requests.deallocate()
      unsafe answers.deallocate()
    }

    /// Moves `cur` and `head` of a ring.
    func move(_ ring: Int, to slot: UInt32) {
      let base = unsafe requests + ring * Self.entry
      unsafe base.storeBytes(of: slot, toByteOffset: Self.cur, as: UInt32.self)
      unsafe base.storeBytes(of: slot, toByteOffset: Self.head, as: UInt32.self)
    }

    func hwtail(_ ring: Int) -> UInt32 {
      unsafe (answers + ring * Self.entry).load(
        fromByteOffset: Self.hwtail, as: UInt32.self)
    }
  }

  /// A port that another thread uses as well, for its loop.
  private struct Shared: @unchecked Sendable {
    let port: NetmapPort
  }

  @Test("a thread drives a port by control blocks until it is stopped")
  func loop() throws {
    let engine = try EmbeddedEngine()
    let port = try NetmapPort("netmap:loop{1/x@conf:slots=8", engine: engine)
    let peer = try NetmapPort("netmap:loop}1", engine: engine)
    let blocks = Blocks()
    unsafe try port.enableControlBlocks(requests: blocks.requests, answers: blocks.answers)
    #expect(blocks.hwtail(0) == 7 && blocks.hwtail(1) == 0)
    #expect(throws: NetmapError.self) { try port.sync(.transmit) }
    #expect(try port.wait(for: .receive, timeout: .seconds(10)) == .error)
    let shared = Shared(port: port)
    let stop = port.syncLoopStop
    var thread = pthread_t()
    let body = unsafe Unmanaged.passRetained(
      Box { try shared.port.runSyncLoop(pause: .microseconds(20)) })
    let code = unsafe pthread_create(
      &thread, nil,
      { unsafe $0.flatMap { unsafe Unmanaged<Box>.fromOpaque($0).takeRetainedValue().run() } },
      body.toOpaque())
    try #require(code == 0)
    blocks.move(0, to: 3)
    var received = 0
    for _ in 0..<10_000 where received < 3 {
      usleep(1000)
      received += try peer.takeSlots().count
      try peer.sync(.receive)
    }
    #expect(received == 3)
    #expect(throws: NetmapError.self) { try port.runSyncLoop() }
    stop.stop()
    pthread_join(thread, nil)
    // Without a loop, the next one stops when it begins.
    stop.stop()
    try port.runSyncLoop()
  }

  private final class Box {
    let body: () throws -> Void
    init(_ body: @escaping () throws -> Void) { self.body = body }
    func run() -> UnsafeMutableRawPointer? {
      do { try body() } catch { Issue.record(error) }
      return nil
    }
  }

  @Test("what does not suit is refused")
  func refusals() throws {
    let engine = try EmbeddedEngine()
    let shared = try NetmapPort("netmap:loop{2", engine: engine)
    let port = try NetmapPort("netmap:loop{3/x", engine: engine)
    let blocks = Blocks()
    func code(_ body: () throws -> Void) -> CInt? {
      (#expect(throws: NetmapError.self) { try body() })?.code.rawValue
    }
    #expect(
      code {
        unsafe try shared.enableControlBlocks(requests: blocks.requests, answers: blocks.answers)
      } == EINVAL)
    #expect(
      code {
        unsafe try port.enableControlBlocks(requests: blocks.requests + 8, answers: blocks.answers)
      } == EINVAL)
    #expect(code { try port.runSyncLoop() } == EINVAL)
    try port.sync(.transmit)
    unsafe try port.enableControlBlocks(requests: blocks.requests, answers: blocks.answers)
    #expect(code { try port.sync(.receive) } == EBUSY)
    #expect(code { try port.runSyncLoop(pause: .seconds(2)) } == EINVAL)
    #expect(code { try port.runSyncLoop(kicks: [0]) } == EINVAL)
    #expect(code { try port.runSyncLoop(kicks: [1_000_000, 1_000_000]) } == EBADF)
    #expect(code { try port.runSyncLoop(signals: [-1]) } == EINVAL)
    #expect(code { try port.runSyncLoop(signals: [1_000_000, -1]) } == EBADF)
  }
}
