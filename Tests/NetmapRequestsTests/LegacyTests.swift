import CNetmap
import Glibc
import NetmapRequests
import NetmapTestSupport
import Testing

@Suite("Legacy requests")
struct LegacyTests {
  let program = SimulatedProgram()

  func value(_ address: UInt64) -> nmreq { program.memory.get(at: address) }

  @Test(
    "versions from 14 on are accepted by the legacy commands, and return as they came",
    .proves(.works(.commands, "NIOCREGIF", "NIOCGINFO")))
  func versions() {
    for version: UInt32 in [14, 15, 16, 99, .max] {
      for command in [NETMAP_IOCTL_REGIF, NETMAP_IOCTL_GINFO] {
        let request = program.legacy("eth0") { $0.nr_version = version }
        #expect(program.ioctl(command, request) == 0)
        #expect(value(request).nr_version == version)
      }
    }
  }

  @Test(
    "older versions give EINVAL, and nothing changes", arguments: [0, 3, 11, 12, 13] as [UInt32])
  func oldVersions(version: UInt32) {
    for command in [NETMAP_IOCTL_REGIF, NETMAP_IOCTL_GINFO] {
      // A name without a NUL.
      let request = program.legacy("0123456789abcdef") { $0.nr_version = version }
      let before = program.memory.bytesAt(request, 60)
      #expect(program.ioctl(command, request) == EINVAL)
      #expect(program.memory.bytesAt(request, 60) == before)
    }
    #expect(program.server.log.isEmpty)
  }

  @Test("a name is cut to 15 bytes, and returns cut, also with a refusal")
  func names() {
    for (command, refusal) in [
      (0, nil), (0, EBUSY), (NETMAP_BDG_DELIF, nil), (99, nil),
      (NETMAP_PT_HOST_CREATE, nil),
    ] as [(Int32, Int32?)] {
      let program = SimulatedProgram()
      program.server.refusal = refusal.map(RequestErrno.init)
      let request = program.legacy("0123456789abcdefgh", command)
      _ = program.ioctl(NETMAP_IOCTL_REGIF, request)
      #expect(program.memory.bytesAt(request, 16) == Array("0123456789abcde".utf8) + [0])
      if let call = program.server.registered {
        #expect(call.name.description == "0123456789abcde")
      }
    }
  }

  @Test("info requests: LIST passes and returns indexes and name")
  func list() throws {
    program.server.listAnswer.name = RequestName("vale0:a_long_name_that_does_not_fit".utf8)
    let request = program.legacy("", NETMAP_BDG_LIST) {
      $0.nr_arg1 = 1
      $0.nr_arg2 = 0xffff
    }
    #expect(program.ioctl(NETMAP_IOCTL_GINFO, request) == 0)
    let call = try #require(program.server.listed)
    #expect(call.name.isEmpty && call.switchIndex == 1 && call.portIndex == 0xffff)
    #expect(program.memory.bytesAt(request, 16) == Array("vale0:a_long_na".utf8) + [0])
    #expect(value(request).nr_arg1 == 3 && value(request).nr_arg2 == 9)
  }

  @Test("a listed name leaves the bytes behind its NUL")
  func shortListedName() {
    program.server.listAnswer.name = RequestName("vale0:a".utf8)
    let request = program.legacy("", NETMAP_BDG_LIST)
    program.memory.put([0] + [UInt8](repeating: 70, count: 15), at: request)
    #expect(program.ioctl(NETMAP_IOCTL_GINFO, request) == 0)
    #expect(
      program.memory.bytesAt(request, 16)
        == Array("vale0:a".utf8) + [0] + [UInt8](repeating: 70, count: 7) + [0])
  }

  @Test("info requests: every other command asks for a port", arguments: [0, 1, 2, 5, 7, 8, 99])
  func info(command: Int32) throws {
    let request = program.legacy("eth0", command) {
      $0.nr_tx_slots = 1
      $0.nr_rx_slots = 2
      $0.nr_tx_rings = 3
      $0.nr_rx_rings = 4
      $0.nr_arg1 = 5
      $0.nr_arg2 = 6
      $0.nr_arg3 = 7
      $0.nr_offset = 8
      $0.nr_ringid = 9
      $0.nr_flags = 10
    }
    #expect(program.ioctl(NETMAP_IOCTL_GINFO, request) == 0)
    let call = try #require(program.server.asked)
    #expect(call.name.description == "eth0" && call.memoryID == 6)
    #expect(call.hints.transmitSlots == 1 && call.hints.receiveSlots == 2)
    #expect(call.hints.transmitRings == 3 && call.hints.receiveRings == 4)
    #expect(call.hints.hostTransmitRings == 0 && call.hints.hostReceiveRings == 0)
    let after = value(request)
    #expect(after.nr_memsize == 0x0004_0000 && after.nr_arg2 == 78)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12)
    #expect(after.nr_arg1 == 5 && after.nr_arg3 == 7 && after.nr_offset == 8)
    #expect(after.nr_ringid == 9 && after.nr_flags == 10 && after.nr_cmd == UInt16(command))
  }

  @Test("an info request without a name returns memory, and leaves the counts")
  func memoryInfo() {
    program.server.infoAnswer.counts = nil
    let request = program.legacy("") { $0.nr_tx_slots = 1 }
    #expect(program.ioctl(NETMAP_IOCTL_GINFO, request) == 0)
    #expect(value(request).nr_memsize == 0x0004_0000 && value(request).nr_tx_slots == 1)
  }

  @Test("DETACH and DELIF pass the name, and return nothing")
  func detachAndRemove() {
    for (command, log) in [(NETMAP_BDG_DETACH, "detach"), (NETMAP_BDG_DELIF, "remove")] {
      let request = program.legacy("vale0:eth0", command) { $0.nr_arg1 = 9 }
      let before = program.memory.bytesAt(request, 60)
      #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
      #expect(program.server.log.last == log)
      #expect(program.server.name?.description == "vale0:eth0")
      #expect(program.memory.bytesAt(request, 60) == before)
    }
  }

  @Test("VNET_HDR sets a length, which returns; another length than netmap's gives EINVAL")
  func setHeader() {
    for (length, expected) in [(0, 0), (10, 0), (12, 0), (11, EINVAL)] as [(UInt16, Int32)] {
      let request = program.legacy("vale0:a", NETMAP_BDG_VNET_HDR) { $0.nr_arg1 = length }
      #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == expected)
      #expect(value(request).nr_arg1 == length)
      if expected == 0 { #expect(program.server.length == UInt32(length)) }
    }
  }

  @Test("VNET_HDR_GET returns a length in 16 bits")
  func header() {
    let request = program.legacy("vale0:a", NETMAP_VNET_HDR_GET) { $0.nr_arg1 = 99 }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    #expect(value(request).nr_arg1 == 0x000c)
  }

  @Test("NEWIF passes and returns counts and region")
  func create() throws {
    let request = program.legacy("v0", NETMAP_BDG_NEWIF) {
      $0.nr_tx_slots = 1
      $0.nr_rx_slots = 2
      $0.nr_tx_rings = 3
      $0.nr_rx_rings = 4
      $0.nr_arg2 = 5
    }
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
    let call = try #require(program.server.created)
    #expect(call.name.description == "v0" && call.memoryID == 5)
    #expect(call.counts.transmitSlots == 1 && call.counts.receiveSlots == 2)
    #expect(call.counts.transmitRings == 3 && call.counts.receiveRings == 4)
    let after = value(request)
    #expect(after.nr_tx_slots == 1001 && after.nr_rx_slots == 1002)
    #expect(after.nr_tx_rings == 11 && after.nr_rx_rings == 12 && after.nr_arg2 == 81)
  }

  @Test(
    "POLLING takes its mode from the flags, the first CPU from the ring number, and their count from nr_arg1"
  )
  func polling() throws {
    for (flags, mode) in [
      (NR_REG_ONE_NIC, NETMAP_POLLING_MODE_MULTI_CPU),
      (NR_REG_ALL_NIC, NETMAP_POLLING_MODE_SINGLE_CPU), (NR_REG_DEFAULT, 0), (NR_REG_SW, 0),
    ] {
      for (command, log) in [
        (NETMAP_BDG_POLLING_ON, "start polling"), (NETMAP_BDG_POLLING_OFF, "stop polling"),
      ] {
        let request = program.legacy("vale0:eth0", command) {
          $0.nr_flags = UInt32(flags) | UInt32(NR_EXCLUSIVE)
          $0.nr_ringid = 0xf003
          $0.nr_arg1 = 2
        }
        let before = program.memory.bytesAt(request, 60)
        #expect(program.ioctl(NETMAP_IOCTL_REGIF, request) == 0)
        let call = try #require(program.server.polled)
        #expect(call.mode == UInt32(mode) && call.firstCPU == 3 && call.cpuCount == 2)
        #expect(program.server.log.last == log)
        #expect(program.memory.bytesAt(request, 60) == before)
      }
    }
  }

  @Test(
    "the commands of passthrough give ENOMEM, as in netmap",
    .proves(.works(.legacy, "NETMAP_PT_HOST_CREATE", "NETMAP_PT_HOST_DELETE")),
    arguments: [NETMAP_PT_HOST_CREATE, NETMAP_PT_HOST_DELETE])
  func passthrough(command: Int32) {
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, program.legacy("eth0", command)) == ENOMEM)
    #expect(program.server.log.isEmpty)
  }

  @Test(
    "other commands give EINVAL", .proves(.works(.legacy, "NETMAP_BDG_REGOPS", "other numbers")),
    arguments: [NETMAP_BDG_REGOPS, NETMAP_BDG_LIST, 13, 0xffff])
  func unknown(command: Int32) {
    #expect(program.ioctl(NETMAP_IOCTL_REGIF, program.legacy("eth0", command)) == EINVAL)
    #expect(program.server.log.isEmpty)
  }

  @Test("a refused request returns as it came")
  func refused() {
    program.server.refusal = RequestErrno(rawValue: ENXIO)
    program.server.listAnswer.name = RequestName("x".utf8)
    for (command, number) in [
      (NETMAP_IOCTL_REGIF, 0), (NETMAP_IOCTL_REGIF, NETMAP_BDG_NEWIF), (NETMAP_IOCTL_GINFO, 0),
      (NETMAP_IOCTL_REGIF, NETMAP_VNET_HDR_GET), (NETMAP_IOCTL_GINFO, NETMAP_BDG_LIST),
    ] {
      let request = program.legacy("eth0", number)
      let before = program.memory.bytesAt(request, 60)
      #expect(program.ioctl(command, request) == ENXIO)
      #expect(program.memory.bytesAt(request, 60) == before)
    }
  }
}
