import Glibc
import Netmap
import NetmapClient
import NetmapCore
import NetmapTestSupport
import Testing

/// What programs ask netmapd before they open a port, and how they set the size of its memory.
@Suite("Information from netmapd", .timeLimit(.minutes(15)))
struct InformationTests {
  @Test("port information takes the hints, and has rings and memory of a port that is not open")
  func hints() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    var request = RegisterRequest(name: try PortName("a}1"))
    request.hints = RingGeometryHints(transmitSlots: 32, receiveSlots: 16, transmitRings: 2)
    let info = try connection.portInfo(request)
    #expect(
      info.geometry
        == PortGeometry(transmitRings: 1, receiveRings: 2, transmitSlots: 16, receiveSlots: 32))
    #expect(info.memoryID > 1)
    #expect(info.memorySize > 0)
    #expect(try connection.listing().isEmpty)
    let error = #expect(throws: NetmapError.self) {
      try connection.portInfo(RegisterRequest(name: PortName("a")))
    }
    #expect(error?.code == .noSuchDevice)
  }

  @Test("without a name, port information describes region 1, or the region of a number")
  func memoryOnly() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let info = try connection.portInfo(nil)
    #expect(info.memoryID == 1)
    #expect(info.geometry == nil)
    #expect(info.memorySize == RegionLayout(.global).byteCount)
    let opened = try connection.register(RegisterRequest(name: PortName("a{1")))
    let number = opened.registration.memoryID
    let other = try connection.portInfo(nil, memoryID: number)
    #expect(
      other
        == PortInfo(
          memorySize: opened.registration.memorySize, memoryID: number, geometry: nil))
    let error = #expect(throws: NetmapError.self) { try connection.portInfo(nil, memoryID: .max) }
    #expect(error?.code == .invalidArgument)
  }

  @Test("pool information leads to the rings and buffers of an open port")
  func pools() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let request = RegisterRequest(name: try PortName("a{1"))
    let opened = try connection.register(request)
    let pools = try connection.poolsInfo(request)
    #expect(pools.memoryID == opened.registration.memoryID)
    #expect(pools.memorySize == opened.registration.memorySize)
    #expect(pools.interfaces.offset <= opened.registration.interfaceOffset)
    #expect(opened.registration.interfaceOffset < pools.rings.offset)
    let buffers = opened.registration.segment.buffers
    #expect(pools.buffers.offset == buffers.base)
    #expect(pools.buffers.count == Int(buffers.count) && pools.buffers.size == Int(buffers.size))
    #expect(pools.buffers.offset + pools.buffers.byteCount <= pools.memorySize)
  }

  @Test(
    "netmapd ignores bits of nr_flags that netmap does not have, and refuses unknown extensions")
  func strayBits() throws {
    let fixture = try DaemonFixture()
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    var request = RegisterRequest(name: try PortName("vale0:a"))
    request.flags = BindingFlags(rawValue: ~BindingFlags.known.rawValue).union(.noTransmitPoll)
    let opened = try connection.register(request)
    let record = try #require(
      opened.registration.segment.binding(at: opened.registration.bindingIndex))
    #expect(record.flags == .noTransmitPoll)
    #expect(record.extensions == [])
    request.extensions = PortExtensions(rawValue: 1 << 31)
    let error = #expect(throws: NetmapError.self) { try connection.register(request) }
    #expect(error?.code == .invalidArgument)
  }

  @Test("--buffers, --rings and --interfaces set the size of region 1")
  func sizes() throws {
    let fixture = try DaemonFixture(starts: false)
    try fixture.start(["--buffers", "40000", "--rings", "300", "--interfaces", "120"])
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let counts = SharedRegionCounts(buffers: 40_000, rings: 300, interfaces: 120)
    let size = try RegionLayout(.global(counts)).byteCount
    #expect(try connection.portInfo(nil).memorySize == size)
    let null = RegisterRequest(name: try PortName("x"), selection: .null, memoryID: 1)
    let pools = try connection.poolsInfo(null)
    #expect(
      [pools.buffers.count, pools.rings.count, pools.interfaces.count] == [40_000, 300, 120])
  }

  @Test("a daemon that a program starts gets the sizes from the program's environment")
  func environment() throws {
    let fixture = try DaemonFixture(starts: false)
    let command = ["env", "NETMAP_BUFFERS=20000"] + fixture.command(["hold", "netmap:x{1"])
    let program = try TestProgram(command)
    #expect(program.readLine().hasPrefix("ready"))
    let connection = try DaemonConnection(address: DaemonAddress(path: fixture.socket))
    let size = try RegionLayout(.global(SharedRegionCounts(buffers: 20_000))).byteCount
    #expect(try connection.portInfo(nil).memorySize == size)
    program.kill(SIGKILL)
    _ = program.wait()
    fixture.waitUntilGone(within: .seconds(20))
  }

  @Test("sizes out of range are refused, with the name of the setting")
  func sizesOutOfRange() throws {
    let fixture = try DaemonFixture(starts: false)
    let start = [TestProgram.built("netmapd"), "--foreground", "--socket", fixture.socket]
    for (option, value) in [("--buffers", "3"), ("--rings", "1025"), ("--interfaces", "9")] {
      let said = try TestProgram(start + [option, value]).finish()
      #expect(said.status != 0 && said.output.contains(option), "\(said)")
      #expect(said.output.contains(value), "\(said)")
    }
    for value in ["many", "2", "-1"] {
      let said = try TestProgram(["env", "NETMAP_BUFFERS=\(value)"] + start).finish()
      #expect(said.status != 0, "\(value): \(said)")
      #expect(said.output.contains(value), "\(said)")
    }
    #expect(!fixture.files.contains("netmapd.sock"))
  }
}
