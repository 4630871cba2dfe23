import NetmapCore
import Testing

@Suite("The words of a binding that processes change")
struct BindingControlTests {
  private func open(_ engine: Engine) throws -> (TestPort, SyncSegment, Int) {
    let port = try TestPort(engine, "p{1", hints: .slots(8))
    return (port, port.registration.segment, port.registration.bindingIndex)
  }

  @Test("a new binding is driven by its rings, has no loop, and names its region")
  func new() throws {
    let (port, segment, index) = try open(try Engine())
    let control = unsafe try #require(segment.control(ofBinding: index))
    #expect(unsafe control.mode == .rings)
    #expect(unsafe control.loopOwner == 0)
    #expect(unsafe !control.isStopRequested)
    #expect(segment.binding(at: index)?.memoryID == port.registration.memoryID)
    #expect(unsafe segment.control(ofBinding: -1) == nil)
    #expect(unsafe segment.control(ofBinding: EngineLimits.bindingsPerPort) == nil)
  }

  @Test("one client at a time owns the loop, and the engine ends the loop of a dead client")
  func loop() throws {
    let (port, segment, index) = try open(try Engine())
    let control = unsafe try #require(segment.control(ofBinding: index))
    let (one, other) = (ClientTag(slot: 1, epoch: 1), ClientTag(slot: 2, epoch: 1))
    #expect(unsafe control.claimLoop(one))
    #expect(unsafe !control.claimLoop(other))
    #expect(unsafe !control.claimLoop(one))
    #expect(unsafe !control.releaseLoop(other))
    #expect(unsafe control.loopOwner == one.rawValue)
    #expect(segment.releaseLoops(of: other) == 0)
    #expect(segment.releaseLoops(of: one) == 1)
    #expect(unsafe control.claimLoop(other))
    #expect(unsafe control.releaseLoop(other))
    withExtendedLifetime(port) {}
  }

  @Test("a request to stop waits for the loop that takes it, and is taken once")
  func stop() throws {
    let (port, segment, index) = try open(try Engine())
    let control = unsafe try #require(segment.control(ofBinding: index))
    unsafe control.requestStop()
    unsafe control.requestStop()
    #expect(unsafe control.isStopRequested)
    #expect(unsafe control.takeStop())
    #expect(unsafe !control.takeStop())
    withExtendedLifetime(port) {}
  }

  @Test("the next binding in the same place begins afresh, whatever was left there")
  func reuse() throws {
    let engine = try Engine()
    let keeper = try TestPort(engine, "p}1")
    let (port, segment, index) = try open(engine)
    let control = unsafe try #require(segment.control(ofBinding: index))
    unsafe control.setMode(.csb)
    #expect(unsafe control.mode == .csb)
    unsafe control.requestStop()
    #expect(unsafe control.claimLoop(ClientTag(slot: 1, epoch: 1)))
    port.close()
    let (next, _, place) = try open(engine)
    #expect(place == index)
    #expect(unsafe control.mode == .rings)
    #expect(unsafe !control.isStopRequested)
    #expect(unsafe control.loopOwner == 0)
    withExtendedLifetime((keeper, next)) {}
  }

  @Test("a value that is no mode counts as rings", arguments: [3, 0x8000_0000, UInt32.max])
  func forged(value: UInt32) throws {
    let (port, segment, index) = try open(try Engine())
    let control = unsafe try #require(segment.control(ofBinding: index))
    unsafe control.setMode(.loop)
    // A peer can store anything; the word is the first of the record's second line.
    let offset = SyncSegmentLayout.bindings + index * SyncSegmentLayout.bindingByteCount + 64
    #expect(segment.memory.load(at: offset, as: UInt32.self) == 2)
    segment.memory.store(value, at: offset)
    #expect(unsafe control.mode == .rings)
    withExtendedLifetime(port) {}
  }
}
