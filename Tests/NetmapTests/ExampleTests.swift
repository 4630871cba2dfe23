import Netmap
import Testing

@testable import forward
@testable import hello
@testable import responder
@testable import sink
@testable import swap

@Suite("The tutorial's examples")
struct ExampleTests {
  @Test("hello runs")
  @MainActor func helloRuns() throws {
    try Hello.main()
  }

  @Test("sink counts the packets for one UDP port, and no others")
  func sinkCounts() throws {
    let pipe = try PipeFixture()
    _ = try pipe.a.send(udpFrame(destination: (2, 2, 8000)))
    _ = try pipe.a.send(udpFrame(destination: (2, 2, 8001)))
    _ = try pipe.a.send(udpFrame(destination: (2, 2, 8000)))
    _ = try pipe.a.send([1, 2, 3])
    #expect(try Sink.count(8000, on: pipe.b) == 2)
  }

  @Test("forward moves packets between ports, both ways, without copying within a region")
  func forwards() throws {
    let engine = try EmbeddedEngine()
    let left = try NetmapPort("netmap:t{left", engine: engine)
    let right = try NetmapPort("netmap:t{right", engine: engine)
    let leftEnd = try NetmapPort("netmap:t}left", engine: engine)
    let rightEnd = try NetmapPort("netmap:t}right", engine: engine)
    let poller = Poller()
    #expect(left.memoryID == right.memoryID)

    _ = try leftEnd.send([1])
    _ = try leftEnd.send([2])
    _ = try rightEnd.send([3])
    #expect(try Forward.forward(between: left, and: right, poller, timeout: .zero) == 3)
    #expect(try rightEnd.takeAll() == [[1], [2]])
    #expect(try leftEnd.takeAll() == [[3]])
  }

  @Test("forward copies between regions")
  func forwardCopies() throws {
    let engine = try EmbeddedEngine()
    let (left, leftEnd) = (
      try NetmapPort("netmap:l{1", engine: engine), try NetmapPort("netmap:l}1", engine: engine)
    )
    let (right, rightEnd) = (
      try NetmapPort("netmap:r{1", engine: engine), try NetmapPort("netmap:r}1", engine: engine)
    )
    #expect(left.memoryID != right.memoryID)
    _ = try leftEnd.send([1, 2, 3])
    let poller = Poller()
    #expect(try Forward.forward(between: left, and: right, poller, timeout: .zero) == 1)
    #expect(try rightEnd.takeAll() == [[1, 2, 3]])
  }

  @Test("forward keeps packets that find no room, and loses none")
  func forwardBackPressure() throws {
    let engine = try EmbeddedEngine()
    let left = try NetmapPort("netmap:t{left@conf:slots=16", engine: engine)
    let right = try NetmapPort("netmap:t{right@conf:slots=4", engine: engine)
    let leftEnd = try NetmapPort("netmap:t}left", engine: engine)
    let rightEnd = try NetmapPort("netmap:t}right", engine: engine)
    let poller = Poller()
    for number in 0..<10 { #expect(try leftEnd.send([UInt8(number)])) }
    var arrived: [[UInt8]] = []
    for _ in 0..<8 {
      try Forward.forward(between: left, and: right, poller, timeout: .zero)
      arrived += try rightEnd.takeAll()
      try rightEnd.sync(.receive)
    }
    #expect(arrived == (0..<10).map { [UInt8($0)] })
  }

  @Test("responder answers ARP for its own address only")
  func respondsToARP() throws {
    let (pipe, host) = (try PipeFixture(), try #require(Responder(address: "10.0.0.2")))
    let asker: [UInt8] = [2, 0, 0, 0, 0, 1, 10, 0, 0, 1]
    for address: [UInt8] in [[10, 0, 0, 2], [10, 0, 0, 3]] {
      var frame = [UInt8](repeating: 0xff, count: 6) + asker[..<6] + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
      frame += asker + [UInt8](repeating: 0, count: 6) + address
      _ = try pipe.a.send(frame + [UInt8](repeating: 0, count: 18))
    }
    #expect(try host.answer(on: pipe.b, timeout: .zero) == 1)
    let reply = try #require(try pipe.a.takeAll().first)
    #expect(reply[..<12] == asker[..<6] + host.hardwareAddress.bytes)
    #expect(reply[12..<22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2])
    #expect(Array(reply[22..<42]) == host.hardwareAddress.bytes + [10, 0, 0, 2] + asker)
  }

  @Test("responder answers ping, with addresses exchanged and a correct checksum")
  func respondsToPing() throws {
    let (pipe, host) = (try PipeFixture(), try #require(Responder(address: "10.0.0.2")))
    for payload: UInt8 in 0...255 {
      var frame = udpFrame(length: 98)
      frame[23] = 1
      frame[34] = 8
      frame[97] = payload
      frame.replaceSubrange(36..<38, with: [0, 0])
      let sum = onesComplementSum(frame[34...])
      frame.replaceSubrange(36..<38, with: [~UInt8(sum >> 8), ~UInt8(sum & 0xff)])
      _ = try pipe.a.send(frame)
      #expect(try host.answer(on: pipe.b, timeout: .zero) == 1)
      let reply = try #require(try pipe.a.takeAll().first)
      #expect(reply[26..<34] == [10, 0, 0, 2, 10, 0, 0, 1])
      #expect(reply[34] == 0 && reply[97] == payload)
      #expect(onesComplementSum(reply[34...]) == 0xffff)
    }
    // Other traffic is not answered.
    _ = try pipe.a.send(udpFrame())
    #expect(try host.answer(on: pipe.b, timeout: .zero) == 0)
  }

  private func onesComplementSum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
    var sum: UInt32 = 0
    for (place, byte) in bytes.enumerated() { sum += UInt32(byte) << (place % 2 == 0 ? 8 : 0) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return sum
  }

  @Test("swap sends packets back with their addresses exchanged")
  func swaps() throws {
    let pipe = try PipeFixture()
    _ = try pipe.a.send(udpFrame(source: (1, 1, 1111), destination: (2, 2, 8000)))
    #expect(try Swap.echo(pipe.b, timeout: .zero) == 1)
    #expect(
      try pipe.a.takeAll() == [udpFrame(source: (2, 2, 8000), destination: (1, 1, 1111))])
  }
}
