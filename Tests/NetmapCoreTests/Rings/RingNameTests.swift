import CLinux
import Glibc
import Testing

@testable import NetmapCore

/// The names of rings in doorbells between processes.
@Suite("Names of rings")
struct RingNameTests {
  private static func table() throws -> (DoorbellTable, rung: CInt) {
    let (rung, watched) = try BellSocket.pair()
    return (
      unsafe try DoorbellTable(
        of: ClientTag(slot: 3, epoch: 1), watched: watched, rung: dup(rung), resolver: nil), rung
    )
  }

  /// What one call reports: the numbers of segments; nil for all rings.
  private func taken(from table: DoorbellTable) -> [UInt32]? {
    var result: [UInt32]? = []
    _ = unsafe table.takeNames(hasEnded: false) { names in
      guard let names = unsafe names else { return result = nil }
      unsafe result?.append(contentsOf: names.map { UInt32($0 >> 32) })
    }
    return result
  }

  @Test("each name is reported once, although one ring stays in the socket for other sleepers")
  func once() throws {
    let (table, rung) = try Self.table()
    #expect(taken(from: table) == [])
    for round in 1...50 as ClosedRange<UInt32> {
      let count = round % 7
      for index in 0..<count {
        BellSocket.ring(rung, RingName(segment: round * 10 + index, kring: 0))
      }
      #expect(taken(from: table) == (0..<count).map { round * 10 + $0 })
      #expect(taken(from: table) == [])
      var word: UInt64 = 0
      if count > 0 {
        #expect(unsafe recv(table.sharedDescriptor, &word, 8, CInt(MSG_PEEK | MSG_DONTWAIT)) == 8)
      }
    }
    #expect(table.isReliable)
    close(rung)
  }

  @Test("a socket that may have been too full for a ring stands for all rings")
  func full() throws {
    let (table, rung) = try Self.table()
    for index in 0..<127 as Range<UInt32> {
      BellSocket.ring(rung, RingName(segment: index, kring: 0))
    }
    #expect(taken(from: table) == Array(0..<127))
    for index in 0..<400 as Range<UInt32> {
      BellSocket.ring(rung, RingName(segment: index, kring: 0))
    }
    #expect(taken(from: table) == nil)
    BellSocket.ring(rung, RingName(segment: 5, kring: 0))
    #expect(taken(from: table) == [5])
    close(rung)
  }

  @Test("bytes that are no names stand for all rings, and end no program")
  func damaged() throws {
    let (table, rung) = try Self.table()
    var byte: UInt8 = 9
    #expect(unsafe send(rung, &byte, 1, 0) == 1)
    #expect(taken(from: table) == nil)
    BellSocket.ring(rung, RingName(segment: 5, kring: 0))
    #expect(taken(from: table) == nil)
    for _ in 0..<200 { BellSocket.ring(rung, RingName(segment: .max, kring: -1)) }
    #expect(taken(from: table) == nil)
    #expect(table.isReliable)
    close(rung)
  }

  @Test("names tell the rings of a segment, and segments, apart")
  func places() throws {
    let hints = RingGeometryHints(
      transmitSlots: 8, receiveSlots: 8, transmitRings: 3, receiveRings: 3)
    let pipe = try TestPipe(hints)
    let other = try TestPipe(hints)
    let ports = [pipe.master, pipe.slave, other.master, other.slave].map(\.mapped)
    let places = ports.map(\.ringPlaces)
    var seen: Set<RingName> = []
    for (port, own) in zip(ports, places) {
      for index in 0..<3 {
        for (name, positions) in unsafe [
          (port.transmit(index).waitWord.name, own.transmit),
          (port.receive(index).waitWord.name, own.receive),
        ] {
          #expect(seen.insert(name).inserted)
          #expect(name.segment == own.segment)
          #expect(positions.contains(name.position))
          for another in places where another != own && another.segment == own.segment {
            #expect(!another.transmit.contains(name.position))
            #expect(!another.receive.contains(name.position))
          }
        }
      }
    }
    #expect(places[0].segment == places[1].segment)
    #expect(places[0].segment != places[2].segment)
    #expect(places[0].transmit.count == 3)
  }

  @Test("packets that wait to be sent and progress are seen without a sync")
  func looks() throws {
    let pipe = try TestPipe()
    let (sender, receiver) = (pipe.master.mapped, pipe.slave.mapped)
    #expect(!sender.hasUnsent)
    let before = receiver.progress(.receive)
    pipe.master.tx().put([1])
    #expect(sender.hasUnsent)
    #expect(receiver.progress(.receive) == before)
    _ = pipe.master.tx().sync()
    #expect(!sender.hasUnsent)
    _ = pipe.slave.rx().sync()
    #expect(receiver.progress(.receive) != before)
    #expect(receiver.progress([]) == receiver.progress([]))
  }
}
