import Netmap
import NetmapClient
import NetmapCore
import TableSupport

/// A row whose victim uses the parts of the library that the C library uses, and no port object.
protocol ConnectionRow: KillRow {
  /// As ``KillRow/victim(_:)``.
  func victim(_ connection: DaemonConnection) throws -> VictimOperation
}

extension ConnectionRow {
  func victim(_ engine: HostEngine) throws -> VictimOperation {
    throw TableError("\(name) needs a connection")
  }
}

/// A sync loop's look at the rings of a pipe by control blocks, and the end of the loop. The other processes are those of
/// another row.
struct SyncLoopRow: ConnectionRow {
  let name: String
  let port: String
  /// Whether packets move out of the port whose rings the loop drives.
  let isSender: Bool
  let row: any KillRow

  static let all = [
    SyncLoopRow(
      name: "sync loop, pipe tx", port: "killed{1", isSender: true, row: PipeSendRow()),
    SyncLoopRow(
      name: "sync loop, pipe rx", port: "killed}1", isSender: false, row: PipeReceiveRow()),
  ]

  func victim(_ connection: DaemonConnection) throws -> VictimOperation {
    let opened = try connection.register(
      RegisterRequest(name: try PortName(port), flags: .exclusive))
    let mapped = try opened.mapPort(connection)
    let blocks = try LoopBlocks("kill-table-csb", of: mapped)
    let settings = try LoopBlocks.settings(of: mapped, isNotified: true)
    let sleeper = Announcement.doorbell(connection.tag.doorbell)
    if isSender {
      let ring = unsafe mapped.transmit(0).ring
      // Earlier victims have used the pipe's rings.
      var slot = blocks.head(LoopBlocks.transmit)
      for number in 0..<3 as Range<UInt8> {
        let bytes = TableFrame.bytes(from: TableFrame.victim, number)
        unsafe ring.buffer(ring.load(slot).bufferIndex).copyMemory(
          from: bytes, byteCount: bytes.count)
        unsafe ring.place(slot).store(length: UInt16(bytes.count), flags: [])
        slot = unsafe ring.next(slot)
      }
      blocks.move(LoopBlocks.transmit, to: slot)
    } else {
      try blocks.loop(mapped, connection.tag, settings).lookOnce(sleeper)
      // The application has read one of three packets.
      let ring = unsafe mapped.receive(0).ring
      blocks.move(LoopBlocks.receive, to: unsafe ring.next(blocks.head(LoopBlocks.receive)))
    }
    let loop = try blocks.loop(mapped, connection.tag, settings)
    return {
      loop.lookOnce(sleeper)
      withExtendedLifetime((connection, opened, blocks)) {}
    }
  }

  func scene(_ testbed: TableTestbed) throws -> any KillScene { try row.scene(testbed) }
}
