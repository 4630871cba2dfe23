import Glibc
import NetmapCore
import NetmapTestSupport
import Testing

/// Monitors of ports with several rings, host rings and backends that fail.
@Suite("Monitors: the rings of interfaces")
struct MonitorRingTests {
  private let interfaces = FakeInterfaces()
  private let engine: Engine

  init() throws { engine = try Engine(interfaces: interfaces) }

  /// The flag that tells sent packets from received ones, of each packet in a ring.
  private func areSent(_ ring: TestRing) -> [Bool] {
    ring.sync()
    var (result, index): ([Bool], UInt32) = ([], ring.head)
    while index != ring.tail {
      result.append(ring[index].flags.contains(.monitoredTransmit))
      index = ring.next(index)
    }
    return result
  }

  @Test("a monitor has a receive ring for each pair of rings, also of host rings")
  func hostRings() throws {
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let all = try TestPort(
      engine, "fake0", .hardwareAndHost, flags: [.monitorTransmit, .monitorReceive])
    let hardware = try TestPort(engine, "fake0", flags: [.monitorTransmit, .monitorReceive])
    let geometry = all.registration.geometry
    #expect(geometry.transmitRings == 1 && geometry.receiveRings == 3)
    #expect(geometry.hostTransmitRings == 1 && geometry.hostReceiveRings == 2)
    #expect(all.mapped.receiveCount == 5 && hardware.mapped.receiveCount == 3)
    // The third transmit ring has no receive ring beside it.
    port.tx(2).send([1])
    #expect(areSent(all.rx(2)) == [true])
    #expect(all.rx(2).receive() == [1] && hardware.rx(2).receive() == [1])
    port.tx(1).send([2])
    #expect(port.rx(1).receive() == [2])
    #expect(areSent(all.rx(1)) == [true, false])
    #expect(all.rx(1).receive() == [2, 2] && hardware.rx(1).receive() == [2, 2])
    // Host rings come after the hardware's: transmit ring 3, and receive rings 2 and 3.
    port.tx(3).send([3])
    #expect(port.rx(2).receive() == [3])
    #expect(areSent(all.rx(3)) == [true, false])
    #expect(all.rx(3).receive() == [3, 3])
    for ring in 0..<3 { #expect(hardware.rx(ring).receive().isEmpty) }
    #expect(all.rx(0).receive().isEmpty && all.rx(4).receive().isEmpty)
  }

  @Test("packets that transparent mode passes on go through rings with monitors, and reach them")
  func transparentMode() throws {
    let port = try TestPort(engine, "fake0", .hardwareAndHost)
    let monitor = try TestPort(engine, "fake0", .hardwareAndHost, flags: .monitorTransmit)
    port.tx(0).send([1, 2])
    let ring = port.rx(0)
    ring.sync()
    #expect(ring.visible == [1, 2])
    unsafe ring.mapped.ring.forwardsReleased = true
    ring[ring.head].flags.insert(.forward)
    ring.move(to: ring.tail)
    ring.sync()
    #expect(port.rx(2).receive() == [1], "the first host receive ring")
    #expect(monitor.rx(3).receive() == [1])
    #expect(ring.counters.drops.total == 0)
  }

  @Test("packets that a backend cannot send yet are copied once")
  func failedSync() throws {
    let port = try TestPort(engine, "fake0")
    let monitor = try TestPort(engine, "fake0", flags: .monitorTransmit)
    let pair = interfaces["fake0"].pairs[0]
    let tx = port.tx(0)
    pair.fail(with: EIO)
    tx.put([1, 2])
    #expect(tx.sync() == .failed)
    #expect(monitor.rx().receive() == [1, 2])
    tx.put([3])
    #expect(tx.sync() == .failed)
    #expect(monitor.rx().receive() == [3])
    pair.fail(with: 0)
    #expect(tx.sync() == .done)
    tx.send([4])
    #expect(monitor.rx().receive() == [4])
    #expect(port.rx(0).receive() == [1, 2, 3, 4])
  }

  @Test("rings that are opened later are monitored, and those that are closed are not")
  func laterRings() throws {
    let first = try TestPort(engine, "fake0", .oneHardware(0))
    let monitor = try TestPort(engine, "fake0", flags: .monitorTransmit)
    let second = try TestPort(engine, "fake0", .oneHardware(1))
    second.tx().send([1])
    #expect(monitor.rx(1).receive() == [1])
    first.close()
    second.tx().send([2])
    #expect(monitor.rx(1).receive() == [2])
    let third = try TestPort(engine, "fake0", .oneHardware(0))
    third.tx().send([3])
    #expect(monitor.rx(0).receive() == [3])
    monitor.close()
    #expect(second.tx().lock(second.tag), "no monitor is left")
    second.tx().unlock()
    #expect(engine.check().findings.isEmpty)
  }
}
