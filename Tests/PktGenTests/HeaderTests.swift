import Netmap
import Testing
import ToolSupport

@testable import PktGenCore

@Suite("Virtio-net headers of switch ports")
struct HeaderTests {
  private func packets(_ port: NetmapPort) throws -> [[UInt8]] {
    try port.sync(.receive)
    var ring = port.receiveRing(0)
    var result: [[UInt8]] = []
    while let packet = ring.next() {
      result.append([UInt8](packet))
    }
    return result
  }

  @Test("-H sets the header of the port, and a port without a header gets only the frames")
  func set() throws {
    let engine = try EmbeddedEngine()
    let plain = try NetmapPort("vale0:r", engine: engine)
    let holder = try NetmapPort("vale0:s", flags: .acceptVirtioNetHeader, engine: engine)
    let sender = try Run("-i vale0:s -f tx -n 10 -H 12", engine)
    #expect(sender.wait() == 0)
    #expect(try holder.virtioNetHeader() == 12)
    #expect(!sender.log.has("Unable to set"))
    let received = try packets(plain)
    #expect(received.count == 10 && received.allSatisfy { $0.count == 60 })
    #expect(received.first?.prefix(6) == [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
  }

  @Test("without -H, pkt-gen asks the port for its header")
  func asked() throws {
    let engine = try EmbeddedEngine()
    let same = try NetmapPort("vale0:r", flags: .acceptVirtioNetHeader, engine: engine)
    let holder = try NetmapPort("vale0:s", flags: .acceptVirtioNetHeader, engine: engine)
    for port in [same, holder] { try port.setVirtioNetHeader(10) }
    let sender = try Run("-i vale0:s -f tx -n 10", engine)
    #expect(sender.wait() == 0)
    #expect(sender.output.has("Sent 10 packets 700 bytes "))
    let received = try packets(same)
    #expect(received.count == 10 && received.allSatisfy { $0.prefix(10).allSatisfy { $0 == 0 } })
  }

  @Test("-H on a port that cannot have a header logs a message")
  func refused() throws {
    let engine = try EmbeddedEngine()
    let receiver = try Run("-i netmap:t}1 -f rx -n 1", engine)
    try receiver.waitFor("reading from netmap:t}1")
    let sender = try Run("-i netmap:t{1 -f tx -n 1 -H 12", engine)
    #expect(sender.wait() == 0 && receiver.wait() == 0)
    #expect(sender.log.has("Unable to set virtio-net header length 12"))
  }
}
