import CNetmap
import Glibc
import NetmapRequests

/// A program that calls `ioctl`: its memory, and the layer and the server behind its descriptor.
final class SimulatedProgram {
  let memory: SimulatedMemory
  let server = RecordingServer()

  init(memory: SimulatedMemory = SimulatedMemory()) {
    self.memory = memory
  }

  /// `ioctl(fd, command, argument)`: 0, or the errno.
  func ioctl(_ command: UInt32, _ argument: UInt64) -> Int32 {
    let layer = RequestLayer(memory: memory, server: server)
    return layer.perform(UInt(command), argument)?.rawValue ?? 0
  }

  /// Lays out a control request, and performs it.
  @discardableResult
  func control(_ request: ControlMemory) -> Int32 { ioctl(NETMAP_IOCTL_CTRL, request.header) }
}

/// A control request in a program's memory.
struct ControlMemory {
  let memory: SimulatedMemory
  let header: UInt64

  init(
    _ program: SimulatedProgram, _ type: Int, _ name: String = "eth0", body: UInt64 = 0,
    options: UInt64 = 0
  ) {
    memory = program.memory
    var header = nmreq_header()
    header.nr_version = UInt16(NETMAP_API)
    header.nr_reqtype = UInt16(type)
    header.nr_body = body
    header.nr_options = options
    self.header = program.memory.add(header)
    setName(Array(name.utf8))
  }

  func setName(_ bytes: [UInt8]) { memory.put(bytes, at: header + 8) }

  /// `nr_name`, all 64 bytes.
  var name: [UInt8] { memory.bytesAt(header + 8, 64) ?? [] }

  var value: nmreq_header {
    get { memory.get(at: header) }
    nonmutating set { memory.put(newValue, at: header) }
  }
}

extension SimulatedProgram {
  /// Adds an option to the front of a list, and returns its address.
  func add<Option: BitwiseCopyable>(
    _ option: Option, _ type: Int, size: UInt64 = 0, before next: UInt64 = 0
  ) -> UInt64 {
    let address = memory.add(option)
    var header: nmreq_option = memory.get(at: address)
    header.nro_next = next
    header.nro_reqtype = UInt32(type)
    // Whatever a program leaves here must not matter.
    header.nro_status = 0xdead
    header.nro_size = size
    memory.put(header, at: address)
    return address
  }

  /// An option that consists of its header.
  func addBare(_ type: Int, size: UInt64 = 0, before next: UInt64 = 0) -> UInt64 {
    add(nmreq_option(), type, size: size, before: next)
  }

  func option(_ address: UInt64) -> nmreq_option { memory.get(at: address) }
  func status(_ address: UInt64) -> Int32 { Int32(bitPattern: option(address).nro_status) }

  func register(_ edit: (inout nmreq_register) -> Void = { _ in }) -> UInt64 {
    var body = nmreq_register()
    body.nr_mode = UInt32(NR_REG_ALL_NIC)
    edit(&body)
    return memory.add(body)
  }

  func legacy(
    _ name: String, _ command: Int32 = 0, _ edit: (inout nmreq) -> Void = { _ in }
  ) -> UInt64 {
    var request = nmreq()
    request.nr_version = UInt32(NETMAP_API)
    request.nr_cmd = UInt16(command)
    edit(&request)
    let address = memory.add(request)
    memory.put(Array(name.utf8.prefix(16)), at: address)
    return address
  }
}
