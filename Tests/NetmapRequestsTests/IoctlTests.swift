import CNetmap
import Glibc
import NetmapRequests
import NetmapTestSupport
import Testing

private let structured = [
  NETMAP_IOCTL_CTRL, NETMAP_IOCTL_REGIF, NETMAP_IOCTL_GINFO, NETMAP_IOCTL_CONFIG,
]

@Suite("Commands and their arguments")
struct IoctlTests {
  @Test("commands have netmap's numbers on Linux")
  func numbers() {
    #expect(IoctlCommand(number: 0xc03c_6991) == .legacyInfo)
    #expect(IoctlCommand(number: 0xc03c_6992) == .legacyRegister)
    #expect(IoctlCommand(number: 0x6994) == .synchronizeTransmit)
    #expect(IoctlCommand(number: 0x6995) == .synchronizeReceive)
    #expect(IoctlCommand(number: 0xc110_6996) == .configure)
    #expect(IoctlCommand(number: 0xc058_6997) == .control)
  }

  @Test("only 32 bits of a command count, so a command that was kept in an int is understood")
  func signExtended() {
    let program = SimulatedProgram()
    let layer = RequestLayer(memory: program.memory, server: program.server)
    #expect(layer.perform(0xffff_ffff_c058_6997, 0) == .invalidArgument)
    #expect(layer.perform(0xffff_ffff_0000_6994, 0) == nil)
    #expect(program.server.log == ["sync tx"])
  }

  @Test(
    "an unknown command gives EOPNOTSUPP, whatever its argument",
    .proves(.works(.commands, "unknown commands")),
    arguments: [0, 0x6993, 0x6996, 0x6997, 0xc058_6998, 0x5401, 0x2000_6994] as [UInt32])
  func unknown(command: UInt32) {
    let program = SimulatedProgram()
    for argument: UInt64 in [0, 1, .max] { #expect(program.ioctl(command, argument) == EOPNOTSUPP) }
    #expect(program.server.log.isEmpty)
    #expect(program.memory.copiesIn.isEmpty && program.memory.copiesOut.isEmpty)
  }

  @Test("a null argument of a command that takes a structure gives EINVAL", arguments: structured)
  func null(command: UInt32) {
    let program = SimulatedProgram()
    #expect(program.ioctl(command, 0) == EINVAL)
    #expect(program.memory.copiesIn.isEmpty)
  }

  @Test(
    "an argument that cannot be read gives EFAULT",
    .proves(.works(.commands, "NIOCCTRL", "NIOCREGIF", "NIOCGINFO")), arguments: structured)
  func unreadable(command: UInt32) {
    let program = SimulatedProgram()
    let size = UInt64(command >> 16 & 0x3fff)
    let absent = program.memory.reserve(4096) + 512
    program.memory.protect(absent, .absent, count: 2048)
    // In the middle of nothing; with the last byte missing; with the last byte beyond the end of the address space.
    for address in [8, absent, absent - size + 1, 0 &- size + 1, .max] {
      #expect(program.ioctl(command, address) == EFAULT)
    }
    #expect(program.server.log.isEmpty && program.memory.copiesOut.isEmpty)
  }

  @Test("an argument may end where the address space ends")
  func lastByte() {
    let program = SimulatedProgram()
    #expect(program.ioctl(NETMAP_IOCTL_CTRL, 0 &- 88) == EINVAL)
    #expect(program.ioctl(NETMAP_IOCTL_CONFIG, 0 &- 272) == 0)
  }

  @Test("an argument that cannot be written gives EFAULT, also if the request was refused before")
  func unwritable() {
    let program = SimulatedProgram()
    let bad = ControlMemory(program, NETMAP_REQ_VALE_DELIF)
    bad.value.nr_version = 1
    program.memory.protect(bad.header, .readOnly)
    #expect(program.control(bad) == EFAULT)
    let old = program.legacy("eth0") { $0.nr_version = 3 }
    program.memory.protect(old, .readOnly)
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, old) == EFAULT)
    #expect(program.server.log.isEmpty)
  }

  @Test("a request that has been served stays served if its argument cannot be written")
  func servedUnwritable() {
    let program = SimulatedProgram()
    let request = ControlMemory(program, NETMAP_REQ_REGISTER, body: program.register())
    program.memory.protect(request.header, .readOnly)
    #expect(program.control(request) == EFAULT)
    #expect(program.server.log == ["register"])
  }

  @Test("the sync commands do not look at their argument")
  func sync() {
    let program = SimulatedProgram()
    for argument: UInt64 in [0, 1, .max] {
      #expect(program.ioctl(NETMAP_IOCTL_TXSYNC, argument) == 0)
      #expect(program.ioctl(NETMAP_IOCTL_RXSYNC, argument) == 0)
    }
    #expect(
      program.server.log == ["sync tx", "sync rx", "sync tx", "sync rx", "sync tx", "sync rx"])
    #expect(program.memory.copiesIn.isEmpty && program.memory.copiesOut.isEmpty)
    program.server.refusal = RequestErrno(rawValue: ENXIO)
    #expect(program.ioctl(NETMAP_IOCTL_TXSYNC, 0) == ENXIO)
    #expect(program.ioctl(NETMAP_IOCTL_RXSYNC, 0) == ENXIO)
  }

  @Test(
    "NIOCCONFIG hands the name and the data to the server, and the data back, also with a refusal")
  func configure() throws {
    for refusal in [nil, RequestErrno(rawValue: EINVAL)] {
      let program = SimulatedProgram()
      program.server.refusal = refusal
      let address = program.memory.reserve(272)
      // 16 bytes without a NUL.
      program.memory.put(Array("vale0:0123456789".utf8), at: address)
      program.memory.put(UInt8(7), at: address + 16 + 255)
      #expect(program.ioctl(NETMAP_IOCTL_CONFIG, address) == refusal?.rawValue ?? 0)
      let call = try #require(program.server.configured)
      #expect(call.name.description == "vale0:0123456789")
      #expect(call.data[255] == 7)
      #expect(program.memory.bytesAt(address, 17) == Array("vale0:0123456789".utf8) + [0xaa])
    }
  }

  @Test(
    "a number that no system call returns never makes a refusal look like a success",
    arguments: [0, -1, 4096, Int32.min, Int32.max])
  func strangeRefusal(code: Int32) {
    #expect(RequestErrno(rawValue: code).rawValue == EIO)
    let program = SimulatedProgram()
    program.server.refusal = RequestErrno(rawValue: code)
    #expect(program.ioctl(NETMAP_IOCTL_TXSYNC, 0) == EIO)
  }
}
